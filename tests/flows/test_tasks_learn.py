"""Every task on real data is learned: a short real run beats the floor, and the same run on targets dealt out at random
does not."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import registry
from harness.engine import run_trial
from harness.metrics import METRICS
from harness.record import Record
from harness.tasks._prepared import PreparedTask
from harness.trial import Trial


@dataclass(frozen=True)
class Quick:
    """Settings of a run of seconds, the least it must gain on the floor, and the most that the control may."""

    margin: float
    settings: dict[str, Any]
    slack: float = 0.02
    task: dict[str, Any] = field(default_factory=dict)


LOOKING_BACK = {
    "attention": "dot",
    "bidirectional": True,
    "batching": "by-length",
    "schedule": "cosine",
    "clip_norm": 1.0,
}
"""What every encoder-decoder here is trained with."""
LEARNS: dict[str, Quick] = {
    "sentiment": Quick(
        0.15,
        {"cell": "lstm", "hidden_size": 32, "examples": 14_000, "input_dropout": 0.3, "learning_rate": 0.005},
        0.04,
    ),
    "mnist": Quick(0.5, {"cell": "lstm", "examples": 6_000, "learning_rate": 0.005}, 0.05, {"steps": 28}),
    "speech": Quick(0.35, {"cell": "lstm", "examples": 3_000, "learning_rate": 0.005}, 0.06),
    "pos": Quick(0.6, {"cell": "lstm", "bidirectional": True, "examples": 4_000, "learning_rate": 0.01}, 0.03),
    "ner": Quick(
        0.45,
        {"cell": "lstm", "bidirectional": True, "examples": 5_000, "learning_rate": 0.01},
        task={"data": "wikiann"},
    ),
    "video": Quick(0.3, {"cell": "lstm", "examples": 8_000, "learning_rate": 0.005, "clip_norm": 1.0}, 0.05),
    "captioning": Quick(
        15.0,
        {"cell": "lstm", "examples": 10_000, "learning_rate": 0.01, "schedule": "cosine", "clip_norm": 1.0},
        2.0,
        {"data": "shapes", "rows": 12},
    ),
    "translation": Quick(
        3.0,
        {"cell": "lstm", "hidden_size": 64, "examples": 29_000, "learning_rate": 0.008, **LOOKING_BACK},
        1.0,
        {"pieces": 1_000},
    ),
    "pronunciation": Quick(0.12, {"cell": "lstm", "examples": 10_000, "learning_rate": 0.01, **LOOKING_BACK}),
    "autocomplete": Quick(
        1.0,
        {"cell": "lstm", "tokens": 150_000, "bptt_length": 32, "batch_size": 16, "learning_rate": 0.01},
        task={"characters": 100_000},
    ),
    "music": Quick(
        0.9,
        {
            "cell": "lstm",
            "tokens": 80_000,
            "bptt_length": 32,
            "batch_size": 2,
            "learning_rate": 0.02,
            "schedule": "cosine",
        },
    ),
    "timeseries": Quick(
        0.4,
        {"cell": "lstm", "examples": 6_000, "learning_rate": 0.005, "schedule": "cosine", "clip_norm": 1.0},
        -1.0,
    ),
    "image-generation": Quick(
        4.0, {"cell": "lstm", "tokens": 60_000, "bptt_length": 8, "batch_size": 16, "learning_rate": 0.01}
    ),
    # 1,992 summaries teach which words to take, not how to write them: without a pointer it stays below the floor
    "summarization": Quick(
        0.04,
        {"cell": "lstm", "hidden_size": 64, "examples": 6_000, "batch_size": 16, "learning_rate": 0.004}
        | {"input_dropout": 0.3, "output_dropout": 0.3, "pointer": True, **LOOKING_BACK},
        0.0,
        {"pieces": 4_000, "longest": 80, "longest_answer": 50},
    ),
    # the floor is what counts foresee of an answer without its question; the control learns no more than that
    "chatbot": Quick(
        0.8,
        {"cell": "lstm", "hidden_size": 64, "examples": 60_000, "attention": "dot", "batching": "by-length"}
        | {"schedule": "cosine", "clip_norm": 1.0, "learning_rate": 0.004, "select": "best", "evaluations": 4}
        | {"input_dropout": 0.3, "output_dropout": 0.3},
        0.0,
        {"pieces": 1_000, "turns": 1, "longest": 15, "longest_answer": 4},
    ),
}
"""A line for each task on real data, which its author measured."""


def run(name: str, **more: Any) -> Record:
    quick = LEARNS[name]
    settings = {"evaluations": 1, "hidden_size": 32, **quick.settings, **more}
    settings["cell"] = {"name": settings["cell"]}
    record = run_trial(Trial(task={"name": name, **quick.task}, **settings))
    assert record.status == "ok", record.traceback or record.reason
    return record


def gain(record: Record) -> float:
    return (record.score - record.floor) * (1 if METRICS[record.metric].better == "higher" else -1)


def test_each_task_on_real_data_has_a_line():
    real = {name for name, kind in registry.members("harness.tasks").items() if issubclass(kind, PreparedTask)}
    assert set(LEARNS) == real


def test_each_task_on_real_data_is_in_the_benchmark_of_all():
    sweeps = yaml.safe_load((Path(__file__).parents[2] / "benchmarks" / "tasks.yaml").read_text())["sweep"]
    assert {sweep["task"]["name"] if "name" in sweep["task"] else sweep["task"] for sweep in sweeps} >= set(LEARNS)


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNS)
def test_a_short_run_beats_the_floor(name):
    assert gain(run(name)) > LEARNS[name].margin


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNS)
def test_with_targets_dealt_out_at_random_it_does_not(name):
    assert gain(run(name, shuffled_targets=True)) < LEARNS[name].slack
