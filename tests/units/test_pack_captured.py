"""An update of a pack is one recording: it looks at no number, stays in its memory, and repeats to the same bits.

No GPU is needed for that. What a CUDA graph would do is done by recorder.py: it refuses what a graph cannot hold, and
repeats the operations of an update, without the code that asked for them, upon the memory that they had.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from packs import ADDING, DIGITS, STREAM, packed, same_as_alone, trials
from recorder import Recorded, Recorder, fault

from harness.data.batches import Batch
from harness.engine import begin
from harness.models.base import Windows
from harness.pack.captured import Captured, CudaGraphs, Graphs, how, off
from harness.pack.fixed import Fixed
from harness.pack.merged import merged
from harness.pack.stacked import Stacked
from harness.trial import Trial

CELLS = ["elman", "gru", "lstm"]
MEMBERS: list[dict[str, Any]] = [
    {"learning_rate": 0.003},
    {"learning_rate": 0.01, "clip_norm": 0.1},
    {"learning_rate": 0.001, "clip_agc": 0.01, "weight_decay": 0.01},
    {"clip_value": 0.005},
    {"clip_layer_norm": 0.05, "schedule": "cosine"},
]
KINDS: dict[str, dict[str, Any]] = {
    "classes at the end": DIGITS,
    "values at the end, windows that overlap": ADDING | {"bptt_length": 5, "bptt_stride": 3},
    "a stream": STREAM,
    "a stream that looks back, two layers": STREAM | {"bptt_stride": 8, "tokens": 16 * 8 * 24, "layers": 2},
    "both directions": DIGITS | {"bidirectional": True},
    "plain descent": DIGITS | {"optimizer": "sgd"},
}
PLAIN = {"kernel": "loop", "precision": "float64"}
"""On a CPU a batched loop looks whether only the last step is answered; on a GPU, and cell by cell, nothing looks."""


def stacked_of(members: Sequence[Trial], device: str = "cpu") -> tuple[Stacked, Iterator[tuple[Batch, ...]], Windows]:
    courses = [begin(trial).course for trial in members]
    modules = [course.module.to(device) for course in courses]
    for module in modules:  # torch gives a module on `meta` new parameters
        module.named_weights = list(module.model.named_parameters())
    stacked = Stacked(modules, [module.configure_optimizers() for module in modules])
    reach = (None, None) if modules[0].task.stream else (members[0].bptt_length, members[0].bptt_stride)
    return stacked, zip(*(iter(course.loader) for course in courses), strict=True), Windows(*reach, watch=False)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", [*CELLS, "mgu", "mingru", "feedforward"])
def test_it_runs_where_there_are_no_numbers_to_look_at(cell, kind):
    """On torch's `meta` device: whatever reads a number there raises. Loops are those of a GPU that is too small."""
    members = trials(*MEMBERS, cell={"name": cell}, **KINDS[kind])
    stacked, batches, windows = stacked_of(members, "meta")
    for _ in range(2):  # of a stream: one that begins, and one that goes on
        given = next(batches)
        batch = merged(given, stacked.blocks[0].model.each_step, windows)
        assert batch is not None
        fixed = Fixed(stacked, batch, windows)
        with Recorder() as recorder:
            fixed.run()
        assert len(recorder.done) > 100
    for looks in (lambda x: float(x.sum()), lambda x: x.tolist(), lambda x: x[x > 0], lambda x: bool((x > 0).all())):
        with pytest.raises((RuntimeError, NotImplementedError)):
            looks(fixed.grads_KN)


class Eager(Recorded):
    """Repeats by running the code again."""

    def record(self, run):
        return run


def same_updates(members: Sequence[Trial], device: str, graphs: Graphs, within: float) -> None:
    """Repeated, updates come to the same as made one by one; and no tensor that lasts moves."""
    ways = [stacked_of(members, device) for _ in range(2)]
    ran = Counter[str]()
    makers = [Captured(ways[0][0], ways[0][2], Eager(), Counter()), Captured(ways[1][0], ways[1][2], graphs, ran)]
    places: dict[object, list[int]] = {}
    for update in range(7):
        found = []
        for (stacked, batches, _), maker in zip(ways, makers, strict=True):
            given = next(batches)
            done = maker.update(given, [0.003 * (1 + k) / (1 + update) for k in range(len(members))], watch=False)
            assert done is not None
            for module, batch, *rest in zip(stacked.modules, given, done.found.losses, done.clipped, strict=True):
                assert module.settle(batch, *rest, None)
            carried = [part for m in stacked.modules for state in m.model.carried.get(True, []) for part in state]
            lasting = [stacked.weights_KN, *stacked.moments.values(), stacked.steps_K, done.found.grads_KN]
            found.append([*lasting, *carried, torch.tensor(done.found.losses), torch.tensor(done.clipped)])
            for key, (fixed, _) in maker.known.items():
                now = [part.data_ptr() for part in fixed.memory()]
                assert places.setdefault((id(maker), key), now) == now
        for one, other in zip(*found, strict=True):
            assert torch.equal(one, other) or off(other, one) <= within, f"update {update}"
    assert ran["captured"] >= 5 and makers[1].refused == ""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", CELLS)
def test_repeated_without_its_code_it_is_the_same_to_the_bit(cell, kind):
    """With states that are carried, every rule of clipping, and rates that change."""
    same_updates(trials(*MEMBERS, cell={"name": cell}, **KINDS[kind] | PLAIN), "cpu", Recorded(), 0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_pack_of_recordings_is_each_trial_alone(kind):
    """With probes, evaluations and all; in the record stands what ran."""
    graphs = Recorded()
    members = trials(*MEMBERS, cell={"name": "gru"}, **KINDS[kind] | PLAIN)
    records = same_as_alone(members, 1e-9, graphs=graphs)
    assert {record.kernel for record in records} == {"Python loop, 5 trials, captured"}
    assert len(graphs.recordings) == 1, "one for each shape that comes again"


SLOW: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.003}
WILD = {"elman": 0.9, "gru": 0.9, "lstm": 2.0}
"""Step sizes that rise until the loss explodes: at the 10th update or later, when all have been recorded."""
LONG: dict[str, Any] = ADDING | {"examples": 16 * 240, "probe_every": 1_000, "precision": "float64"}


def one_explodes(cell: str, **how: Any) -> None:
    wild = SLOW | {"learning_rate": WILD[cell], "schedule": "cosine"}
    members = trials(SLOW, wild, SLOW, **{"cell": {"name": cell}} | LONG | how.pop("more", {}))
    records = same_as_alone(members, 1e-8, **how)
    assert [record.status for record in records] == ["ok", "diverged", "ok"] and records[1].updates >= 10
    assert all(record.kernel.endswith("captured") for record in records)


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
def test_one_that_diverges_freezes_in_a_recording_too(cell):
    """At the update, in the layer and at the step at which it does alone; those that go on are recorded anew."""
    graphs = Recorded()
    one_explodes(cell, more={"kernel": "loop"}, graphs=graphs)
    assert len(graphs.recordings) == 2


class Wrong(Recorded):
    """A recording that forgets its last operations."""

    def record(self, run):
        repeat = super().record(run)
        del self.recordings[-1].done[-40:]
        return repeat


class Impossible(Recorded):
    """A device that records nothing."""

    def record(self, run):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")


@pytest.mark.parametrize(
    ("graphs", "said"), [(Wrong(), "a recorded update is off by"), (Impossible(), "an update cannot be recorded: oper")]
)
@pytest.mark.slow
def test_a_recording_that_comes_to_something_else_is_left_and_said(graphs, said, capsys):
    members = trials(*MEMBERS, cell={"name": "lstm"}, **STREAM | PLAIN)
    records = same_as_alone(members, 1e-9, graphs=graphs)
    out = capsys.readouterr().out
    assert out.count("warning: ") == 1 and said in out and "5 trials goes on without a CUDA graph" in out
    assert records[0].kernel.startswith("Python loop, 5 trials, not captured: a")


def test_what_is_not_recorded_says_why():
    """And is made as ever."""
    for why, more in {
        "a probe looks into it": {"probe_every": 1},
        "a rectified cell looks for padding": {"cell": {"name": "irnn"}, "probe_every": 1_000},
    }.items():
        members = trials({}, {}, **{"cell": {"name": "gru"}} | DIGITS | PLAIN | more)
        graphs = Recorded()
        record, _ = packed(members, graphs=graphs)
        assert record.kernel == f"Python loop, 2 trials, not captured: {why}" and not graphs.recordings
    assert how(Counter()) == ""


def test_shapes_that_come_once_and_too_many_of_them_are_not_recorded():
    members = trials({}, {}, cell={"name": "gru"}, **DIGITS | PLAIN)
    stacked, batches, windows = stacked_of(members)
    graphs, ran = Recorded(), Counter[str]()
    captured = Captured(stacked, windows, graphs, ran)
    given = next(batches)
    for rows in (16, 15, 14, 13, 12, 16):
        part = [Batch(b.inputs[:rows], b.targets[:rows], b.lengths[:rows]) for b in given]
        done = captured.update(part, [0.001, 0.002], watch=False)
        assert (done is None) == (rows == 12)
    assert len(graphs.recordings) == 1
    assert ran == {"the first of its shape": 4, "batches of too many shapes": 1, "captured": 1}
    shorter = [batch._replace(lengths=batch.lengths - 1) for batch in given]
    assert captured.update(shorter, [0.1, 0.1], False) is None and ran["sequences that differ in length"] == 1
    stacked.cut(1)
    assert captured.update(given, [0.1, 0.1], False) is None and ran["memory holds fewer trials at once"] == 1


def test_the_recorder_refuses_what_a_graph_cannot_hold():
    x, mask = torch.arange(4.0), torch.tensor([True, False, True, False])
    faults: list[Callable[[], Any]] = [
        lambda: float(x.sum()), lambda: x[mask], x.nonzero, x.unique, lambda: torch.tensor([1.0]),
        lambda: bool((x > 1).all()), lambda: x.bernoulli(0.5), lambda: x.to("meta"), lambda: torch.rand(3),
        lambda: x.masked_select(mask),
    ]  # fmt: skip
    for each in faults:
        with pytest.raises(RuntimeError, match="not permitted when stream is capturing"), Recorder():
            each()
    with Recorder() as recorder:
        y = torch.zeros(2)
        y.add_(x[torch.arange(2)]).mul_(2)
    x += 1
    recorder.repeat()
    assert y.tolist() == [2.0, 4.0] and not fault(torch.ops.aten.add.Tensor, (x, x), {}, x)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", CELLS)
def test_on_a_gpu_a_graph_comes_to_what_its_updates_come_to(cell, kind):
    members = trials(*MEMBERS, cell={"name": cell}, precision="float64", **KINDS[kind])
    same_updates(members, "cuda", CudaGraphs(torch.device("cuda:0")), 1e-12)


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", CELLS)
def test_on_a_gpu_a_captured_pack_is_each_trial_alone(cell, kind):
    members = trials(*MEMBERS, cell={"name": cell}, precision="float64", **KINDS[kind])
    records = same_as_alone(members, 1e-8, device="cuda:0")
    assert {record.kernel for record in records} == {"Triton loop, 5 trials, captured"}


@pytest.mark.gpu
@pytest.mark.parametrize("cell", CELLS)
def test_on_a_gpu_one_that_diverges_freezes(cell):
    one_explodes(cell, device="cuda:0")


@pytest.mark.gpu
def test_on_a_gpu_loops_too_wide_for_the_chip_are_captured_as_well():
    members = trials({}, {}, cell={"name": "gru"}, hidden_size=200, **ADDING)
    assert {record.kernel for record in packed(members, device="cuda:0")} == {"Python loop, 2 trials, captured"}
