"""How near the machine's best: FLOPs against torch's own counter, floors that hold, and what stands on the record."""

from __future__ import annotations

import math
import time

import pytest
import torch
from report_records import DIGITS, LIMITS, realistic, record, rows_of, told
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from harness import cost, machine, spec
from harness.engine import run_trial
from harness.errors import UserError
from harness.models.build import build_model
from harness.record import TIMED
from harness.report.build import build
from harness.report.efficiency import FLOORS, against, ceiling
from harness.storage import files
from harness.training import limits
from harness.training.workers import Workers
from harness.trial import Trial

TOKENS = {"name": "delayed-recall", "delay": 20}


def counted(trial: Trial) -> float:
    """FLOPs of one forward and backward pass over one batch, as torch counts its operations."""
    from harness.data.batches import EvalBatches

    task = trial.build_task()
    torch.manual_seed(0)
    model = build_model(trial, task, trial.build_cell())
    batch = next(iter(EvalBatches(task.load("train", 0), trial.batch_size)))
    with FlopCounterMode(display=False) as counter:
        out = model.answer(batch)
        sum(part.float().sum() for part in (out if isinstance(out, tuple | list) else [out])).backward()
    return float(counter.get_total_flops())


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(("cell", "given"), [("elman", 1), ("gru", 3), ("lstm", 4), ("mgu", 1)])
def test_flops_by_formula_are_those_that_torch_counts(cell: str, given: int, layers: int) -> None:
    """Embedded symbols, on the plain loop: 6 G H (I + H) a token and layer, and the head; but the first state, which is
    given, is not differentiated, so that the first step has no 2 H H of each gate that reads it as it is."""
    trial = Trial(task=TOKENS, cell={"name": cell}, hidden_size=24, embedding_size=16, layers=layers, kernel="loop",
                  examples=8, batch_size=8).normalised()  # fmt: skip
    task, g, h = trial.build_task(), trial.build_cell().gates, 24
    steps = task.shape.steps
    formula = sum(6 * g * h * (i + h) for i in [16, 24][:layers]) * steps
    head = 6 * h * task.shape.outputs
    assert cost.flops_per_token(trial) * steps - formula in (pytest.approx(head), pytest.approx(head * steps))
    spared = 8 * layers * 2 * given * h * h
    assert counted(trial) + spared == pytest.approx(cost.flops_per_token(trial) * steps * 8, rel=1e-6)


def test_of_what_is_read_as_numbers_no_gradient_is_taken() -> None:
    """Features are given, not learnt: the formula counts the 2 G H I a token that nobody needs, as its users do."""
    trial = Trial(task=DIGITS, cell={"name": "lstm"}, hidden_size=24, kernel="loop", examples=8, batch_size=8)
    steps, i = trial.build_task().shape.steps, trial.build_task().shape.features
    spared = 8 * (2 * 4 * 24 * 24 + steps * 2 * 4 * 24 * i)
    assert counted(trial.normalised()) + spared == pytest.approx(cost.flops_per_token(trial) * steps * 8, rel=1e-6)


@pytest.mark.parametrize("window", [4, None])
def test_a_truncated_gradient_is_fewer_flops_and_steps(window: int | None) -> None:
    whole = Trial(task={"name": "adding", "length": 32}, cell={"name": "lstm"}, examples=100)
    cut = whole.model_copy(update={"bptt_length": window})
    share = (window or 32) / 32
    assert cost.steps_per_update(cut) == 32 + 32 * share
    assert cost.flops_per_token(cut) == pytest.approx(cost.flops_per_token(whole) * (1 / 3 + 2 / 3 * share), rel=0.02)


def test_a_scan_takes_a_logarithm_of_the_steps_and_a_cell_without_state_one() -> None:
    one = {"task": {"name": "adding", "length": 64}, "examples": 100}
    assert cost.steps_per_update(Trial(**one, cell={"name": "mingru"})) == 2 * 6
    assert cost.steps_per_update(Trial(**one, cell={"name": "mingru"}, kernel="loop")) == 2 * 64
    assert cost.steps_per_update(Trial(**one, cell={"name": "feedforward"}, layers=3)) == 2 * 3


def test_the_limits_are_measured_once_and_leave_no_trace() -> None:
    state, threads, grad = torch.get_rng_state(), torch.get_num_threads(), torch.is_grad_enabled()
    limits.prepare(1, "float32")
    first = limits.known(1, "float32")
    assert limits.known(1, "float32") is first
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads
    assert torch.is_grad_enabled() == grad
    assert first.flops_per_second > 1e8 and all(rate > 1e7 for rate in first.copies.values())
    assert 0 < first.fused <= first.loop < 1e-2
    assert first.measured.endswith("+00:00")


class Card(Workers):
    """A worker on a device of this name; it computes where it can here."""

    hardware = "NVIDIA H100 80GB HBM3"


def test_each_model_of_a_device_is_measured_and_a_record_of_it_has_floors(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(limits, "_known", {})
    limits.prepare(1, "float32", str(tmp_path), Card())
    own = limits.known(1, "float32", Card())
    assert limits.known(1, "float32") is not own and limits.known(1, "float32", Card()) is own
    assert {path.name for path in (tmp_path / "limits").glob("*.json")} == {
        f"{machine.fingerprint()}-{name}1-float32.json" for name in ("", "h100-80gb-hbm3-")
    }
    found = run_trial(Trial(task={"name": "adding"}, cell={"name": "gru"}, examples=500), workers=Card())
    assert found.device == Card.hardware and found.bound in FLOORS and found.limits_measured == own.measured


def test_torch_is_as_it_was_and_a_chain_is_timed_in_both_of_its_ways() -> None:
    before, cpu = torch.backends.cudnn.enabled, torch.device("cpu")
    assert all(limits._step(nn.LSTM, cpu, fused) > 0 for fused in (True, False))
    assert torch.backends.cudnn.enabled == before


def test_runs_much_shorter_than_the_clock_can_tell_are_timed_in_rows() -> None:
    assert 0 < limits._best(lambda: None, torch.device("cpu")) < 1e-6


def test_a_first_run_that_takes_all_the_time_does_not_count() -> None:
    naps = iter([1.5 * limits.SECONDS])
    assert limits._best(lambda: time.sleep(next(naps, 0)), torch.device("cpu")) < limits.SECONDS


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16-mixed"])
def test_a_gpu_has_its_own_limits_and_its_records_have_floors(precision: str) -> None:
    card = Workers(device="cuda:0")
    found, cpu = limits.known(1, precision, card), limits.known(1, precision)
    assert found.flops_per_second > 10 * cpu.flops_per_second and max(found.copies) > max(cpu.copies)
    assert max(found.copies.values()) > 2 * max(cpu.copies.values()) and 0 < found.fused <= found.loop < 1e-3
    asked = Trial(task={"name": "adding", "length": 30}, cell={"name": "lstm"}, examples=5_000, precision=precision)
    record = run_trial(asked, workers=card)
    assert record.status == "ok" and record.device == torch.cuda.get_device_name(0), record.traceback
    assert record.bound in FLOORS and record.times_floor > 0.4 and 0 < record.mfu < 1.5


MEASURE = """
    import json, sys
    from dataclasses import asdict
    from harness.training import limits
    limits.prepare(1, "float32", {folder!r})
    print(json.dumps(asdict(limits.known(1, "float32"))))
"""


@pytest.mark.slow
def test_one_process_of_a_command_measures_and_the_others_find_it(tmp_path, run_python) -> None:
    running = [run_python(MEASURE.format(folder=str(tmp_path))) for _ in range(3)]
    told = [process.communicate(timeout=120)[0] for process in running]
    assert told[0] and len(set(told)) == 1, "all have what one of them has measured, to the last bit"
    assert len(list((tmp_path / "limits").glob("*.json"))) == 1


def test_who_measures_keeps_nobody_from_training(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(limits, "_known", {})
    lock = tmp_path / "limits" / f"{machine.fingerprint()}-1-float64.lock"
    held = files.acquire(lock)
    limits.prepare(1, "float64", str(tmp_path))
    assert not limits._known, "another process is at it"
    files.release(lock, held)
    found = limits.known(1, "float64")
    assert limits._read(lock.with_suffix(".json")) == found, "it has gone without a result, as when it was killed"
    limits.prepare(1, "float32", str(tmp_path / "removed" / "meanwhile"))
    assert limits.known(1, "float32").flops_per_second > found.flops_per_second / 100


@pytest.mark.parametrize("cell", ["elman", "lstm", "feedforward", "mingru"])
def test_a_record_says_what_binds_and_how_near_it_came(cell: str) -> None:
    trial = Trial(task={"name": "adding", "length": 30}, cell={"name": cell}, examples=2_000, evaluations=1)
    found = run_trial(trial)
    assert found.status == "ok" and found.bound in FLOORS
    assert found.times_floor > 0.4, "a floor is not beaten, but for the noise of a busy machine"
    assert 0 < found.mfu < 1.5 and found.padding_share == 0
    assert found.mfu == pytest.approx(
        found.flops_per_token * found.tokens_per_second / found.limit_flops_per_second, rel=1e-12
    )
    table = build("q", "q", [found], None).machines[0]
    (row,) = table.rows
    told = f"{found.times_floor:.1f}x its"
    assert against(row) in (f"{found.bound}-bound: {told} floor", f"overhead: {told} {found.bound} floor")
    nearest = min(ceiling(row, floor) for floor in FLOORS)
    assert nearest / found.tokens_per_second == pytest.approx(found.times_floor, rel=1e-9)
    assert {"bound", "times_floor", "mfu", "limits_measured", "peak_memory_bytes"} <= TIMED


@pytest.mark.slow
def test_memory_is_counted_from_where_a_trial_begins(run_python) -> None:
    code = """
        from pathlib import Path
        from harness.training.efficiency import Memory
        first = Memory()
        block = bytearray(b"x") * (300 << 20)
        peak = first.peak()
        del block
        again = Memory()
        print(first.counts, peak > 300 << 20, again.peak() < peak - (200 << 20), Memory(Path("/no such system")).peak())
    """
    out, err = run_python(code).communicate(timeout=120)
    assert out.split() in (["True", "True", "True", "0"], ["False", "False", "False", "0"]), err


def test_a_trial_that_did_not_end_well_has_no_efficiency() -> None:
    lost = run_trial(Trial(task={"name": "adding"}, cell={"name": "elman"}, learning_rate=1e9, examples=500))
    assert lost.status == "diverged" and lost.bound == "" and math.isnan(lost.mfu)


def test_every_format_tells_of_the_floor() -> None:
    records, trials = realistic()
    known = [r.replace(**LIMITS) if r.status == "ok" else r for r in records]
    texts, rows = told(known, trials), rows_of(known, trials)
    assert "latency-bound: 1.7x its floor" in texts["md"] and "| 3.1 % |" in texts["md"] and "300 MiB" in texts["md"]
    assert "Floors: no update is quicker" in texts["md"]
    ended = [row for row in rows if row["trials_ok"] != "0"]
    assert {row["bound"] for row in ended} == {"latency"} and {row["mfu"] for row in ended} == {"0.031"}
    assert all(float(row["ceiling_compute"]) == 5e5 for row in ended)
    assert "Efficiency" not in told(records, trials)["md"], "records of older versions tell nothing of it"
    slow = [r.replace(**LIMITS | {"times_floor": 42.0}) if r.status == "ok" else r for r in records]
    assert "overhead: 42.0x its latency floor" in told(slow, trials)["md"], "so far beyond, nothing is bound by it"


def test_unlike_kernels_are_named_with_the_way_to_run_like_for_like() -> None:
    one = {"task": DIGITS, "examples": 100}
    two = [record(Trial(**one, cell={"name": cell})) for cell in ("lstm", "gru")]
    assert "unlike kernels (ATen loop; oneDNN fused)" in told(two, None)["md"].replace("\\", "")
    assert "like\\_for\\_like: loop" in told(two, None)["md"] or "like_for_like: loop" in told(two, None)["md"]
    same = [r.replace(kernel="Python loop") for r in two]
    assert "every row ran on one kernel (Python loop), like for like" in told(same, None)["md"]


BENCHMARK = """
question: Which cell is the quickest, like for like?
like_for_like: {kernel}
set: {{task: digits, examples: 100{more}}}
sweep:
  - cell: [{cells}]
"""


def loaded(tmp_path, **parts: str) -> spec.Benchmark:
    path = tmp_path / "like.yaml"
    path.write_text(BENCHMARK.format(**{"more": "", "cells": "elman, gru, lstm, feedforward", **parts}))
    return spec.load(path)


def test_like_for_like_runs_every_cell_on_one_kind_of_kernel(tmp_path) -> None:
    trials = loaded(tmp_path, kernel="loop").trials
    assert {t.cell["name"]: t.kernel for t in trials} == {
        "elman": "loop", "gru": "loop", "lstm": "loop", "feedforward": "auto",  # the loop is all it has
    }  # fmt: skip
    assert {t.kernel for t in loaded(tmp_path, kernel="fused", cells="gru, lstm").trials} == {"auto"}
    assert {t.id for t in loaded(tmp_path, kernel="fused", cells="lstm").trials} == {
        Trial(task=DIGITS, cell={"name": "lstm"}, examples=100).normalised().id
    }


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"kernel": "fast"}, "loop, fused"),
        ({"kernel": "[loop, fused]"}, "loop, fused"),
        ({"kernel": "fused", "cells": "lstm, mgu"}, "cell 'mgu' has no 'fused' kernel"),
        ({"kernel": "loop", "more": ", kernel: fused"}, "given beside like_for_like"),
    ],
)  # fmt: skip
def test_what_like_for_like_cannot_mean_is_refused(tmp_path, parts: dict[str, str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        loaded(tmp_path, **parts)
