"""Speed-up and efficiency: each row against that of one worker, and nothing where there is none."""

from __future__ import annotations

import pytest
from report_records import ADDING, record, rows_of, told

from harness.record import Record
from harness.report.words import NONE
from harness.trial import Trial

RATES = {1: 1_000.0, 2: 1_700.0, 4: 2_400.0}


def measured(workers: int, rate: float = 1.0, **more: object) -> Record:
    trial = Trial(task=ADDING, cell={"name": "lstm"}, examples=100, workers=workers, **more)
    times = {
        "tokens_per_second": rate * RATES[workers],
        "train_seconds": 10.0,
        "communication_seconds": float(workers - 1),
    }
    return record(trial, **times)


def test_each_row_is_held_against_one_worker_of_the_same_settings() -> None:
    rows = {row["workers"]: row for row in rows_of([measured(n) for n in RATES])}
    found = {n: [float(row[name]) for name in ("speedup", "efficiency", "communication")] for n, row in rows.items()}
    assert found == {
        "1": [1.0, 1.0, 0.0], "2": pytest.approx([1.7, 0.85, 0.1]), "4": pytest.approx([2.4, 0.6, 0.3])
    }  # fmt: skip
    text = told([measured(n) for n in RATES], None)["md"]
    assert "| speed-up |" in text and f"| 1.70 | 85 % | {NONE} | 10.0 % |" in text


def test_other_settings_are_no_measure() -> None:
    rows = rows_of([measured(1), measured(2, hidden_size=32)])
    assert [row["speedup"] for row in rows if row["workers"] == "2"] == [""]


def test_a_table_of_single_workers_says_nothing_of_it() -> None:
    (row,) = rows_of([measured(1)])
    assert "speedup" not in row and "communication" not in told([measured(1)], None)["md"]


def test_the_answer_says_how_much_faster_with_its_interval_of_ratios_on_the_same_seeds() -> None:
    rates = (1.0, 10.0, 3.0)  # between seeds they differ more than by workers: only pairs tell
    made = [measured(n, rate, seed=seed) for n in (1, 2) for seed, rate in enumerate(rates)]
    off = zip(made[3:], (0.9, 1.0, 1.1), strict=True)
    made[3:] = [r.replace(tokens_per_second=r.tokens_per_second * factor) for r, factor in off]
    (row,) = [row for row in rows_of(made) if row["workers"] == "2"]
    assert float(row["speedup"]) == pytest.approx(1.7)
    assert "is 1.70 [1.53, 1.87] times as fast" in " ".join(told(made, None)["md"].split())
