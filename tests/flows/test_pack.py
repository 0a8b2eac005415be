"""A trial in a pack comes to what it comes to by itself: scores, losses, gradients and how it ends."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from packs import ADDING, DIGITS, STREAM, differences, packed, same_as_alone, trials

from harness import machine, spec
from harness.engine import run_trial
from harness.errors import Paused
from harness.launch.base import Target, execute_pack
from harness.pack.run import run_pack
from harness.record import Record
from harness.stop import Stop
from harness.storage import store
from harness.training.checkpoint import Checkpoints
from harness.training.keeper import Keeper
from harness.trial import Trial

CELLS = ["elman", "gru", "lstm"]
MEMBERS: list[dict[str, Any]] = [
    {"learning_rate": 0.003},
    {"learning_rate": 0.01, "clip_norm": 0.5},
    {"learning_rate": 0.001, "clip_agc": 0.01, "weight_decay": 0.01},
    {"clip_value": 0.05, "select": "best"},
    {"clip_layer_norm": 0.3, "schedule": "cosine"},
]
"""What may differ in a pack: step sizes and their schedules, clipping, weight decay, seeds, selection."""
KINDS: dict[str, dict[str, Any]] = {
    "classes at the end": DIGITS,
    "values at the end, windows that overlap": ADDING | {"bptt_length": 5, "bptt_stride": 3},
    "a stream": STREAM,
    "a stream that looks back": STREAM | {"bptt_stride": 8, "tokens": 16 * 8 * 24},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", CELLS)
def test_a_packed_trial_is_the_trial_alone(cell, kind):
    """To 1e-5 in float32, although rounding grows from update to update."""
    same_as_alone(trials(*MEMBERS, cell={"name": cell}, **KINDS[kind]), 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", CELLS)
def test_in_float64_it_is_so_to_ten_digits(cell, kind):
    same_as_alone(trials(*MEMBERS, cell={"name": cell}, precision="float64", **KINDS[kind]), 1e-10)


@pytest.mark.parametrize("cell", [{"name": "irnn"}, {"name": "mgu"}, {"name": "mingru"}, {"name": "feedforward"}])
def test_every_kind_of_cell_packs(cell):
    """A rectified one, one that torch has no kernel of, one that is scanned, one that carries nothing. The exponents
    of rectified layers, of which units are dead, hang on the last bit."""
    members = trials({}, {"clip_norm": 0.1}, cell=cell, precision="float64", layers=2, **DIGITS)
    same_as_alone(members, 1e-9, besides={"lyapunov"})


def test_two_directions_pack():
    same_as_alone(trials({}, {}, cell={"name": "gru"}, precision="float64", bidirectional=True, **DIGITS), 1e-9)


def test_trials_whose_batches_differ_in_shape_make_those_updates_by_themselves():
    """Streams that go from document to document: a window is as long as what is left of the longest."""
    task = {"name": "autocomplete", "characters": 3_000, "documents": "files"}
    same = {"task": task, "bptt_length": 30, "batch_size": 5, "tokens": 1_500, "cell": {"name": "gru"}}
    same_as_alone(trials(*MEMBERS, precision="float64", **same), 1e-9)


def test_what_is_wrong_with_a_trial_is_in_its_record_as_it_is_alone(tmp_path, capsys):
    """A pack that cannot begin: each of its trials goes on by itself."""
    task = {"name": "autocomplete", "characters": 3_000}
    same = {"task": task, "bptt_length": 30, "batch_size": 1_000_000, "tokens": 1_500}
    members = trials({}, {}, cell={"name": "gru"}, **same)
    target = Target(str(tmp_path), "many", machine.fingerprint(), wandb=False)
    records = execute_pack(members, target)
    assert "a pack of 2 trials: UserError: batch_size" in capsys.readouterr().out
    for trial, record in zip(members, records, strict=True):
        assert record.status == "failed" and "batch_size" in record.reason
        assert record.reason == run_trial(trial).reason and target.holding(trial.id)


@pytest.mark.parametrize("cell", CELLS)
def test_a_member_that_diverges_freezes_and_the_others_go_on(cell):
    """At the update, in the layer and at the step at which it does alone."""
    wild: dict[str, Any] = {"learning_rate": 1e25, "optimizer": "sgd"}
    members = trials({"optimizer": "sgd"}, wild, {"optimizer": "sgd"}, cell={"name": cell}, **ADDING)
    records = same_as_alone(members, 1e-5)
    assert [record.status for record in records] == ["ok", "diverged", "ok"]
    assert records[1].updates < records[0].updates and records[1].failed_update == records[1].updates


def test_a_pack_of_which_all_diverge_ends():
    members = trials(*[{"learning_rate": 1e25, "optimizer": "sgd"}] * 2, cell={"name": "gru"}, **ADDING)
    assert [record.status for record in same_as_alone(members, 1e-5)] == ["diverged"] * 2


class StopAt(Keeper):
    """Of the first trial of a pack: asked to stop while this update is made."""

    def __init__(self, checkpoints: Checkpoints, update: int, stop: Stop) -> None:
        super().__init__(checkpoints, every=3600, stop=stop)
        self.update = update

    def start_clock(self, ask: Any) -> None:
        super().start_clock(ask)
        self.pack_ask = ask
        self.course.module.after_update.insert(0, self._count)

    def _count(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        if pl_module.updates == self.update:
            assert self.stop is not None and self.stop.ask()
            self._stopping = True
            self.pack_ask()


def paused(members: list[Trial], folder: Path, updates: list[int]) -> list[Checkpoints]:
    """Stop a pack after each of these updates; return where its trials are."""
    places = [Checkpoints(folder / trial.id, trial.id) for trial in members]
    stop = Stop(str(folder / "stop" / "asked"))
    for update in updates:
        first = StopAt(places[0], update, stop)
        with pytest.raises(Paused, match=f"after update {update}$"):
            packed(members, [first, *(Keeper(place, 3600, stop) for place in places[1:])])
        stop.withdraw()
    return places


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_pack_that_is_stopped_goes_on_bit_for_bit(kind, tmp_path):
    members = trials(*MEMBERS, cell={"name": "gru"}, **KINDS[kind])
    places = paused(members, tmp_path, [3, 11, 16])
    records = packed(members, [Keeper(place, 3600) for place in places])
    for record, whole in zip(records, packed(members), strict=True):
        assert record.attempts == 4 and repr(record.without_times()) == repr(whole.without_times())


def test_what_a_pack_left_goes_on_alone_and_the_other_way_round(tmp_path):
    """A packed trial writes the checkpoint of a trial."""
    members = trials(*MEMBERS, cell={"name": "elman"}, precision="float64", **DIGITS)
    places = paused(members, tmp_path, [11])
    first = run_trial(members[0], keeper=Keeper(places[0], 3600))
    others = packed(members[1:], [Keeper(place, 3600) for place in places[1:]])
    for record, trial in zip([first, *others], members, strict=True):
        assert record.attempts == 2 and not differences(record, run_trial(trial), 1e-10)


def benchmark(folder: Path, **changes: Any) -> Path:
    """A benchmark of six trials of one shape, of which two diverge, and two of another."""
    file, rates = folder / "many.yaml", [0.003, 0.03, 1e25]
    grids = [{"cell": "elman", "learning_rate": rates}, {"cell": "lstm"}]
    grids = [{"task": {"name": "digits", "steps": 8}} | grid for grid in grids]
    same = {"hidden_size": 8, "batch_size": 16, "examples": 320, "optimizer": "sgd", "precision": "float64"} | changes
    file.write_text(yaml.safe_dump({"question": "Many?", "seeds": 2, "set": same, "sweep": grids}))
    return file


def ran(run_python: Any, file: Path, results: Path, *more: str) -> tuple[int, str]:
    """Run the command in this process's place; return its exit code and output."""
    code = "import sys; from harness.cli.main import main; sys.exit(main(sys.argv[1:]))"
    given = ["run", str(file), "--results", str(results), "--on", "inline", "--wandb", "off", *more]
    child = run_python(code, *given)
    out, err = child.communicate(timeout=280)
    return child.returncode, out + err


@pytest.mark.slow
def test_packing_changes_neither_which_trials_there_are_nor_their_records(run_python, tmp_path):
    file = benchmark(tmp_path, evaluations=2)
    code, said = ran(run_python, file, tmp_path / "packed", "--pack", "4")
    assert code == 5 and "8 trials train in 3 packs of up to 3" in said, said
    assert ran(run_python, file, tmp_path / "alone")[0] == 5
    one, other = (
        {r.trial_id: r for r in store.open_folder(tmp_path / where / "many")} for where in ("packed", "alone")
    )
    assert one.keys() == other.keys() == {trial.id for trial in spec.load(str(file), []).trials}
    for trial_id, record in one.items():
        ran_by = "Python loop" if record.cell == "elman" else other[trial_id].kernel  # an LSTM's runs for each trial
        assert record.packed in (2, 3) and record.kernel == f"{ran_by}, {record.packed} trials"
        assert not differences(record, other[trial_id], 1e-10)


@pytest.mark.slow
def test_a_pack_that_is_killed_goes_on(run_python, tmp_path):
    """By kill -9, at any moment; every trial comes to what it comes to when nobody kills it."""
    file, results = benchmark(tmp_path, evaluations=2, examples=16 * 1_500), tmp_path / "results"
    code = "import sys; from harness.cli.main import main; sys.exit(main(sys.argv[1:]))"
    given = ["run", str(file), "--results", str(results), "--on", "inline", "--wandb", "off", "--pack", "8"]
    child = run_python(code, *given, "--checkpoint-seconds", "0")
    deadline = time.monotonic() + 120
    while len(list(results.glob("many/*/*.checkpoint/manifest.json"))) < 4:
        assert time.monotonic() < deadline and child.poll() is None, child.communicate()
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    killed, said = ran(run_python, file, results, "--pack", "8")
    assert killed == 5 and "go on from their checkpoints" in said, said
    records = store.open_folder(results / "many")
    assert len(records) == 8 and sum(record.attempts == 2 for record in records) >= 4
    wanted = {record.trial_id: record for record in _alone(file)}
    assert all(not differences(record, wanted[record.trial_id], 1e-8) for record in records)


def _alone(file: Path) -> list[Record]:
    return [run_trial(trial) for trial in spec.load(str(file), []).trials]


@pytest.mark.slow
def test_a_pack_that_runs_out_of_memory_halves_and_goes_on(run_python):
    """By a limit that the system sets; what is computed is the same."""
    code = """
        import resource, sys
        sys.path.insert(0, sys.argv[1])
        from packs import packed, trials
        task = {"name": "adding", "length": 120, "train_examples": 128, "valid_examples": 20, "test_examples": 20}
        same = {"task": task, "examples": 64 * 8, "cell": {"name": "gru"}, "hidden_size": 24, "batch_size": 64}
        free = packed(trials({}, {}, **same))
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20), resource.RLIM_INFINITY))
        limited = packed(trials(*[{}] * 32, **same))
        assert [r.gradient_norms for r in limited[:2]] == [r.gradient_norms for r in free]
        print({r.status for r in limited})
    """
    out, err = run_python(code, str(Path(__file__).parents[1])).communicate(timeout=280)
    assert "out of memory: a pack goes on with 16 trials at once" in out and out.endswith("{'ok'}\n"), out + err


def test_what_is_stored_of_one_takes_the_others_no_time():
    found: list[Record] = []

    def stores(trial: Trial, record: Record, trained: bytes) -> None:
        time.sleep(0.3)
        found.append(record)

    members = trials({}, {}, {}, cell={"name": "gru"}, **DIGITS)
    begin = time.perf_counter()
    run_pack(members, "", [Keeper() for _ in members], stores)
    assert sum(record.seconds for record in found) <= time.perf_counter() - begin - 0.9
