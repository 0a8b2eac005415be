"""Trials whose sequences differ in length share updates as well: each comes to what it comes to by itself."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from packs import same_as_alone, trials

from harness.engine import begin
from harness.models.base import Windows
from harness.pack import calibrate
from harness.pack.plan import alone
from harness.pack.stacked import Stacked
from harness.trial import Trial

WORDS = ["a", "the", "film", "was", "very", "not", "good", "bad", "fine", "poor"]


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences of 2 to 24 words, with a label."""
    folder, draw = tmp_path_factory.mktemp("texts"), random.Random(0)
    for split, count in (("train", 200), ("valid", 40), ("test", 40)):
        rows = [(draw.choices(WORDS, k=draw.randint(2, 24)), draw.choice(["good", "bad"])) for _ in range(count)]
        (folder / f"{split}.tsv").write_text("".join(f"{' '.join(words)}\t{label}\n" for words, label in rows))
    return folder


@pytest.fixture(scope="session")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences of 2 to 24 words, each with a tag."""
    folder, draw = tmp_path_factory.mktemp("tagged"), random.Random(0)
    for split, count in (("train", 200), ("valid", 40), ("test", 40)):
        sentences = [draw.choices(WORDS, k=draw.randint(2, 24)) for _ in range(count)]
        lines = ["".join(f"{word} {len(word)}\n" for word in sentence) for sentence in sentences]
        (folder / f"{split}.txt").write_text("\n".join(lines))
    return folder


KINDS: dict[str, dict[str, Any]] = {
    "answered at the end": {},
    "of one length in a batch": {"batching": "by-length"},
    "both directions, two layers": {"bidirectional": True, "layers": 2},
    "answered at each step": {"task": "pos"},
    "answered at each step, in windows": {"task": "pos", "bptt_length": 7},
}


def members(kind: str, texts: Path, tagged: Path, **more: Any) -> list[Trial]:
    settings = {"task": "sentiment"} | KINDS[kind]
    task = {"name": settings.pop("task"), "data": str(tagged if "task" in KINDS[kind] else texts)}
    same = {"task": task, "examples": 16 * 12, "weight_decay": 0.01} | settings
    return trials({}, {"clip_norm": 0.1}, {"learning_rate": 0.01}, **same | more)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
def test_a_packed_trial_is_the_trial_alone(cell, kind, texts, tagged):
    same_as_alone(members(kind, texts, tagged, cell={"name": cell}), 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", ["gru", "irnn", "feedforward"])
def test_in_float64_it_is_so_to_nine_digits(cell, kind, texts, tagged):
    """Of a rectified cell too, which is turned off behind the end of a sequence."""
    given = members(kind, texts, tagged, cell={"name": cell}, precision="float64")
    same_as_alone(given, 1e-9, besides={"lyapunov"} if cell == "irnn" else ())


@pytest.mark.parametrize("kind", KINDS)
def test_their_updates_are_made_together(kind, texts, tagged):
    given = members(kind, texts, tagged, cell={"name": "gru"})
    assert not any(alone(trial) for trial in given)
    courses = [begin(trial).course for trial in given]
    modules = [course.module for course in courses]
    stacked = Stacked(modules, [module.configure_optimizers() for module in modules])
    lengths = set()
    for batches in islice(zip(*(iter(course.loader) for course in courses), strict=True), 8):
        lengths |= {len({batch.inputs.shape[1] for batch in batches})}
        assert stacked.gradient(batches, Windows(given[0].bptt_length, None, watch=False)) is not None
    assert max(lengths) > 1, "no two trials had batches of unlike lengths"
    assert calibrate.measure(given[0], 3, rounds=2).ratios, "and auto can measure what that wins"


@pytest.mark.parametrize(
    ("kind", "windows"),
    [("answered at the end", {"bptt_length": 7}), ("answered at each step", {"bptt_length": 7, "bptt_stride": 3})],
)
def test_windows_that_are_counted_from_a_batchs_end_are_each_trials_own(kind, windows, texts, tagged):
    given = members(kind, texts, tagged, cell={"name": "gru"}, precision="float64", **windows)
    assert "counted from the end" in alone(given[0])
    same_as_alone(given, 1e-9)
