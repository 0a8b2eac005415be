"""run_trial: a Trial in, a Record out. The only place that builds a Lightning Trainer.

No environment variable, global or default decides a result in between; randomness comes from the trial's seed alone,
so the same trial gives the same record, bit for bit, in this process or in a Ray worker.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import pytorch_lightning as pl

from harness import machine, redact, stability
from harness.data import splits
from harness.data.groups import First, Groups
from harness.data.loaders import every_update, whole
from harness.errors import Stopped, out_of_memory
from harness.metrics import METRICS
from harness.models import weights
from harness.models.kernel import kernel_of
from harness.probes import attach
from harness.probes.base import Probe
from harness.probes.panel import Panel
from harness.probes.throughput import Throughput
from harness.record import Record
from harness.spent import CLOCK
from harness.tasks.base import Examples, Split
from harness.training import efficiency, samples, scaling
from harness.training.changing import Changing
from harness.training.checkpoint import Foreign
from harness.training.clocked import Clocked
from harness.training.controlled import controlled
from harness.training.keeper import Keeper as Keeper  # noqa: PLC0414 - part of the face that compare/rounds.py takes from any revision
from harness.training.module import RecurrentModule
from harness.training.snapshot import Course
from harness.training.workers import Workers, severed
from harness.trial import Trial


class Begun(NamedTuple):
    """A trial that is about to train: what changes while it does, and its checked data."""

    course: Course
    data: dict[Split, Examples]
    data_sha256: str


def run_trial(
    trial: Trial,
    benchmark: str = "",
    keep: Callable[[bytes], None] | None = None,
    keeper: Keeper | None = None,
    workers: Workers | None = None,
) -> Record:
    """Train and evaluate one trial. An exception inside becomes a Record with status `failed` and its traceback.

    `workers`: this process is one of several that train it together and all run this; each returns a record, of which
    that of the first is the trial's. What says only that another of them is gone is raised.

    `keep` stores the weights of a trial that ended well (harness/models/weights.py) before its record is returned; what
    it raises is raised. `keeper` goes on from a checkpoint and writes more; Paused is raised where it was told to stop.
    """
    trial, keeper, workers = trial.normalised(), keeper or Keeper(), workers or Workers()
    assert trial.workers == workers.count, f"a trial of {trial.workers} workers, run by {workers.count}"
    memory_used = efficiency.Memory()
    CLOCK.take(outside=False)  # what was before is no part of this trial
    record, trained = blank(trial, benchmark, workers), b""
    try:
        try:
            fields, module = _observe(trial, keeper, workers, memory_used)
        except Foreign as error:
            keeper.set_aside(error)
            fields, module = _observe(trial, keeper, workers, memory_used)
        record = record.replace(**fields)
        if keep is not None and record.status == "ok":
            trained = weights.packed(module.model)
    except Stopped:
        raise
    except Exception as error:
        if workers.several and severed(error):
            raise
        why = f"{workers.name}{type(error).__name__}: {error}{_less(trial) if out_of_memory(error) else ''}"
        record = record.replace(status="failed", reason=redact.text(why), traceback=redact.text(traceback.format_exc()))
    finally:
        keeper.close()
    if keep is not None and trained:
        keep(trained)
    return record if workers.rank else closed(record, trial, keeper, memory_used, workers)


def _less(trial: Trial) -> str:
    """What to try where memory does not suffice: autograd holds every step of a window for every row of a batch."""
    window = "the whole sequence" if trial.bptt_length is None else trial.bptt_length
    return f"; try: a smaller batch_size than {trial.batch_size}, or a shorter bptt_length than {window}"


def closed(record: Record, trial: Trial, keeper: Keeper, memory_used: efficiency.Memory, worker: Workers) -> Record:
    """Return a record with what is known once its trial has ended: time, attempts, memory, and what was possible."""
    record = record.replace(seconds=keeper.seconds, attempts=keeper.attempts, started=keeper.started)
    record = record.replace(peak_memory_bytes=memory_used.peak())
    if record.status == "ok":
        record = record.replace(**efficiency.observed(trial, record, worker))
    spent = CLOCK.take(outside=False)
    return record.replace(spent_names=[*spent], spent_seconds=[*spent.values()])


def blank(trial: Trial, benchmark: str, workers: Workers | None = None) -> Record:
    """What is known of a trial before it has run, with the status of one that has failed."""
    workers = workers or Workers()
    metric = METRICS[trial.build_task().metric]
    return Record(
        trial_id=trial.id,
        benchmark=benchmark,
        trial=trial.canonical(),
        task=trial.task["name"],
        cell=trial.cell["name"],
        seed=trial.seed,
        status="failed",
        metric=metric.name,
        higher_is_better=metric.better == "higher",
        fingerprint=machine.fingerprint(workers.device.type),
        device=workers.hardware,
        machine=json.dumps(machine.facts(), sort_keys=True),
        git_commit=machine.git_commit(),
    )


def _observe(
    trial: Trial, keeper: Keeper, workers: Workers, memory_used: efficiency.Memory
) -> tuple[dict[str, Any], RecurrentModule]:
    """Train, evaluate and return the fields of the record that were observed, and what was trained."""
    with controlled(trial, workers):
        begun = begin(trial, workers)
        fields = train(begun, keeper, keeper.open(begun.course, begun.data_sha256))
        if workers.several and fields["status"] == "ok":
            memory_used.peak()  # what one alone takes is not the trial's
            workers.all(None)  # from here on the others have nothing to do
            fields |= {} if workers.rank else _beside_one(begun, fields, keeper.seconds)
        return fields, begun.course.module


@CLOCK.on("model")
def begin(trial: Trial, workers: Workers | None = None) -> Begun:
    """Load the data of a trial and build what is trained on it."""
    task = trial.build_task()
    data = splits.load(trial, task)
    module = RecurrentModule(trial, task, trial.build_cell(), workers)
    loader = every_update(trial, task, data["train"])
    module.total_updates = len(loader)
    return Begun(Course(module, loader, attach(trial)), data, splits.data_hash(data))


def train(begun: Begun, keeper: Keeper, done: int) -> dict[str, Any]:
    """Train one trial, of which `done` updates were made before, and return what was observed."""
    module, workers = begun.course.module, begun.course.module.workers
    groups = Groups(workers.updates(begun.course.loader), module.trial.evaluations, done)
    trainer = make_trainer(begun.course.probes, groups, [keeper, Changing(module.trial)], workers)
    module.to(workers.device)
    with CLOCK.on("model"), module.arithmetic.forward():
        first = (batch._replace(resets=None) for batch in whole(module.task, begun.data["train"], 1))
        kernel = kernel_of(module.model, (module.transfer_batch_to_device(each, workers.device, 0) for each in first))
    with CLOCK.on("train"):
        trainer.fit(module, groups, workers.scored(whole(module.task, begun.data["valid"])))
    return observed(begun, trainer, kernel)


@CLOCK.on("probe")
def _beside_one(begun: Begun, fields: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Train a copy of what several workers have trained for a few updates, as one alone does; return what that tells of
    them (scaling.py)."""
    module, count = begun.course.module, begun.course.module.workers.count
    if not (updates := scaling.affordable(fields, count, seconds)):
        return {}
    one, clock = scaling.alone(module), Throughput(module.trial)
    groups = Groups(First(every_update(one.trial, one.task, begun.data["train"]), updates), 1)
    trainer = make_trainer([*attach(one.trial), clock], groups, workers=one.workers)
    try:
        trainer.fit(one, groups)
    except Exception as error:
        if not out_of_memory(error):
            raise
    return scaling.observed(fields, count, clock)


def observed(begun: Begun, trainer: pl.Trainer, kernel: str) -> dict[str, Any]:
    """Evaluate what was trained, and return the fields of its record."""
    module, loader, probes = begun.course.module, begun.course.loader, begun.course.probes
    task, workers = module.task, module.workers
    fields: dict[str, Any] = {
        "kernel": kernel,
        "parameters": sum(p.numel() for p in module.parameters()),
        "dropped_tokens": loader.dropped,
        "floor": task.floor(),
        "data_sha256": begun.data_sha256,
    }
    failure = module.failure
    if failure is None:
        with CLOCK.on("evaluate"):
            if module.scored_at != module.updates:
                trainer.validate(module, workers.scored(whole(task, begun.data["valid"])), verbose=False)
            module.choose_weights()
            trainer.test(module, workers.scored(whole(task, begun.data["test"])), verbose=False)
            fields |= {"status": "ok", "reason": ""} | _scores(module)
            fields["samples"] = samples.observed(module, begun.data["test"]) if not workers.rank else ""
    else:
        fields |= {"status": "diverged", "reason": failure.reason, "failed_update": failure.update}
        fields |= {"failed_layer": failure.layer, "failed_step": failure.step}
    fields["weights_sha256"] = weights.digest(module.model)
    with CLOCK.on("probe"):
        for probe in probes:
            fields |= probe.observed()
    fields["verdict"] = stability.verdict(
        fields["status"],
        fields.get("gradient_lags", []),
        fields.get("gradient_by_lag", []),
        fields["gradient_norm_median"],
        fields["gradient_norm_p99"],
    )
    return fields


def _scores(module: RecurrentModule) -> dict[str, Any]:
    """Fields of the record: the task's own score, and those beside it."""
    module.to(module.workers.device)  # Lightning takes it back to the CPU, where NCCL could not add up the scores
    task, scores = module.task, module.take_scores()
    module.cpu()
    return {"score": scores[task.metric], "also_names": [*task.also], "also_scores": [scores[n] for n in task.also]}


def make_trainer(
    probes: Iterable[Probe], groups: Groups, first: Sequence[pl.Callback] = (), workers: Workers | None = None
) -> pl.Trainer:
    """Lightning with everything off that the project does itself; an epoch is the whole budget. `first`: callbacks that
    act before the probes."""
    panels = [Panel(probes)] if (probes := [*probes]) else []
    return pl.Trainer(
        **(workers or Workers()).options(),
        max_epochs=1,
        callbacks=[Clocked(), *first, *panels],
        val_check_interval=groups.per_evaluation,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
