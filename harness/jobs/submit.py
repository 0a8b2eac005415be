"""Submitting a benchmark: what is checked before anything goes, what goes, and the plain command that does the same."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import machine
from harness.errors import Fault, UserError
from harness.jobs import client as jobs
from harness.jobs import cluster as clusters
from harness.jobs import notes, upload
from harness.jobs.cluster import Cluster
from harness.jobs.notes import Note
from harness.launch.gpus import OPTION, WITHOUT, asked
from harness.launch.scale_up import WAIT_OPTION

if TYPE_CHECKING:
    from harness.spec import Benchmark

Say = Callable[[str], object]


@dataclass(frozen=True)
class Plan:
    """A job that is ready to go."""

    note: Note
    cluster: Cluster
    upload: upload.Upload
    threads: int
    gpus: float = 0.0

    @property
    def command(self) -> str:
        """What the job runs on the cluster."""
        note = self.note
        return shlex.join(notes.entrypoint(self.upload.benchmark, note.set, note.options, self.cluster.results))

    @property
    def runtime_env(self) -> dict[str, Any]:
        """Variables of the job; never any of this machine's."""
        return {"env_vars": self.cluster.variables} if self.cluster.variables else {}

    def by_hand(self, folder: Path) -> str:
        """The plain command of Ray that does the same."""
        words = ["ray", "job", "submit", "--address", self.cluster.dashboard, "--submission-id", self.note.id]
        words += ["--working-dir", str(folder)]
        words += ["--runtime-env-json", json.dumps(self.runtime_env)] if self.runtime_env else []
        return f"{shlex.join(words)} -- {self.command}"


def plan(benchmark: Benchmark, on: str, overrides: Sequence[str], options: Sequence[str]) -> Plan:
    """Return what would be submitted. Nothing is sent; UserError names everything that must not go."""
    cluster, goes = clusters.read(on), upload.collect(benchmark)
    given = list(options)
    if cluster.gpus_per_trial and OPTION not in given:
        given += [OPTION, f"{cluster.gpus_per_trial:g}"]
    if OPTION in given and WAIT_OPTION not in given and cluster.patience:
        given += [WAIT_OPTION, f"{cluster.patience:g}"]
    share = asked(float(given[given.index(OPTION) + 1])) if OPTION in given else 0.0
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    text = Path(benchmark.path).read_text(encoding="utf-8-sig")
    job, path = notes.new_id(benchmark.name), str(benchmark.path)
    note = Note(job, on, path, benchmark.name, list(overrides), given, text, goes.digest, trials_of(benchmark), now)
    return Plan(note, cluster, goes, max(trial.threads for trial in benchmark.trials), share)


def trials_of(benchmark: Benchmark) -> str:
    """Return a hash of all trials; another one where own data, or what a setting means, has changed."""
    search = benchmark.search.digest if benchmark.search else ""
    return hashlib.sha256("".join([*sorted(trial.id for trial in benchmark.trials), search]).encode()).hexdigest()[:16]


def submit(planned: Plan, results: Path, no_token: bool, say: Say) -> None:
    """Submit a job, after all that can be wrong has been looked at."""
    note, cluster = planned.note, planned.cluster
    if not jobs.open_to_all(cluster, no_token) and (shown := jobs.exposed(cluster)):
        say(f"note: {shown}; {jobs.TUNNEL}")
    try:
        client = jobs.connect(cluster, no_token)
        same_ray(client.ray_version, cluster)
        fits(jobs.nodes(cluster), planned)
    except jobs.Unreachable as error:  # nothing has started, so nothing goes on: it is the user's to see to
        what, _, remedy = str(error).partition("\n  try: ")
        raise UserError(Fault(what, note.on, remedy=remedy)) from None
    staged = planned.upload.stage(notes.folder(results, note.id) / "upload")
    notes.write(results, note)
    say(f"the same by hand:\n  {planned.by_hand(staged)}")
    environment = {"working_dir": str(staged), **planned.runtime_env}
    facts = {"benchmark": note.name, "harness": machine.version("rnn-harness"), "upload": note.digest}
    try:
        with jobs.answering(cluster):
            client.submit_job(
                entrypoint=planned.command, submission_id=note.id, runtime_env=environment, metadata=facts
            )
    except UserError:
        notes.forget(results, note.id)
        raise
    say(f"submitted: {note.id}\n  next: harness status {note.id} --follow")


def same_ray(there: str, cluster: Cluster) -> None:
    """Raise UserError where the cluster runs another Ray: what one pickles the other may not read."""
    here = machine.version("ray")
    if there != here:
        what = f"{cluster.dashboard} runs Ray {there}, and this machine {here}"
        raise UserError(
            Fault(what, remedy=f"pip install 'ray[default]=={there}' here, or start the cluster with {here}")
        )


def fits(nodes: Sequence[dict[str, float]], planned: Plan) -> None:
    """Raise UserError where no node can ever hold a trial: the job would wait for ever."""
    largest = max((node.get("CPU", 0.0) for node in nodes), default=0.0)
    later = planned.cluster.node
    if max(largest, later.cpus if later else 0) < planned.threads:
        what = f"a trial needs {planned.threads} CPUs on one node, and the largest node has {largest:g}"
        have = f"{len(nodes)} nodes are up, with {sum(node.get('CPU', 0.0) for node in nodes):g} CPUs in all"
        remedy = f"--set threads={largest:g}" if largest >= 1 else "start a worker"
        grows = "; an autoscaler's larger nodes are named by `node: {cpus: N}`"
        raise UserError(Fault(what, planned.note.on, have, remedy + grows))
    if planned.gpus and not any(node.get("GPU", 0.0) for node in nodes) and not planned.cluster.patience:
        what = f"{OPTION} {planned.gpus:g}, and no node of the cluster has a GPU"
        raise UserError(
            Fault(what, planned.note.on, remedy=f"{WITHOUT}; `gpu_wait: 900` where an autoscaler brings them")
        )
