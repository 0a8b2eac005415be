"""Nothing is chosen by the test split: with its labels swapped, every choice is the same and only its scores differ."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from report_records import diverged, grid, realistic, record

from harness import spec
from harness.engine import run_trial
from harness.record import Record
from harness.report.build import build
from harness.report.compared import compare
from harness.report.plot_tries import tries
from harness.trial import Trial

YAML = """
question: Which?
match: [parameters, time]
set: {{task: {{name: sentiment, data: '{data}'}}, examples: 200, hidden_size: 16}}
sweep:
  - cell: [elman, gru, lstm]
"""


@pytest.fixture
def twins(tmp_path: Path, monkeypatch) -> list[Path]:
    """Two folders of one user's texts that differ in the labels of the test split alone."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    rng, folders = random.Random(0), [tmp_path / "as-is", tmp_path / "swapped"]
    for split, count in (("train", 120), ("valid", 60), ("test", 60)):
        labels = [rng.choice("ab") for _ in range(count)]
        texts = [" ".join(rng.choices(["x", "y", "z", "good" if one == "a" else "bad"], k=6)) for one in labels]
        for folder in folders:
            folder.mkdir(exist_ok=True)
            told = [{"a": "b", "b": "a"}[one] for one in labels] if split == "test" and folder is folders[1] else labels
            lines = (f"{text}\t{one}" for text, one in zip(texts, told, strict=True))
            (folder / f"{split}.tsv").write_text("\n".join(lines))
    return folders


def test_the_weights_that_are_kept_are_those_of_the_best_validation_score(twins: list[Path]) -> None:
    one, other = (
        run_trial(Trial(task={"name": "sentiment", "data": str(folder)}, cell={"name": "gru"}, examples=600,
                        select="best", hidden_size=8, learning_rate=0.02))
        for folder in twins
    )  # fmt: skip
    assert one.status == "ok" and one.score == pytest.approx(1 - other.score) and one.score != other.score
    for name in ("weights_sha256", "valid_score", "curve_valid_score", "train_loss", "gradient_norms", "verdict"):
        assert getattr(one, name) == getattr(other, name), name


def test_sizes_are_matched_without_a_look_at_it(twins: list[Path]) -> None:
    sizes = []
    for folder in twins:
        path = folder / "which.yaml"
        path.write_text(YAML.format(data=folder))
        sizes.append([(trial.cell["name"], trial.hidden_size) for trial in spec.load(path).trials])
    assert sizes[0] == sizes[1] and len(set(sizes[0])) > 3


def shuffled(records: list[Record]) -> list[Record]:
    """The same records with the test scores dealt out anew among those that ended well."""
    rng = np.random.default_rng(1)
    by_task: dict[str, list[float]] = {}
    for r in records:
        if r.status == "ok":
            by_task.setdefault(r.task, []).append(r.score)
    dealt = {task: iter(rng.permutation(scores).tolist()) for task, scores in by_task.items()}
    return [r.replace(score=next(dealt[r.task])) if r.status == "ok" else r for r in records]


def test_the_best_variant_and_the_order_of_rows_are_those_of_the_validation_split() -> None:
    records, trials = realistic(5)
    one, other = (build("q", "q", found, trials).machines[0] for found in (records, shuffled(records)))
    for mine, theirs in zip(one.groups, other.groups, strict=True):
        assert [row.label for row in mine.rows] == [row.label for row in theirs.rows]
        assert [row.score.center for row in mine.rows] != [row.score.center for row in theirs.rows]
        assert [c.best.label for c in compare(mine)] == [c.best.label for c in compare(theirs)]
        assert tries(mine).keys() == tries(theirs).keys()


def test_a_lost_trial_is_the_worst_on_the_validation_split_too() -> None:
    trials = grid(3, cells=("gru", "lstm"))
    lost = [diverged(t) if t.cell["name"] == "gru" and t.seed else record(t, valid_score=0.9) for t in trials]
    for group in build("q", "q", lost, trials).machines[0].groups:
        firsts = [row.variant.cell for row in group.rows[: len(group.rows) // 2]]
        assert set(firsts) == {"lstm"}


def test_without_any_validation_score_the_answer_says_by_what_it_chose() -> None:
    trials = grid(3, cells=("gru", "lstm"))
    table = build("q", "q", [record(t, valid_score=float("nan")) for t in trials], trials)
    assert "best by test scores, for want of others" in str(table.answers(table.machines[0])[0])


SEARCH = """
question: Which rate?
seeds: 2
set: {task: digits, examples: 100}
search: {kind: random, tries: 4, space: {learning_rate: {from: 0.0003, to: 0.03, scale: log}}}
sweep:
  - cell: [gru, lstm]
"""


def test_a_search_goes_by_it_whatever_the_test_split_says(tmp_path: Path) -> None:
    path = tmp_path / "search.yaml"
    path.write_text(SEARCH)
    studies = spec.load(path).studies
    assert len(studies) == 4
    for study in studies:
        valid = [0.9 - 0.1 * i for i in range(4)]
        one, other = (
            [record(t, valid_score=v, score=test) for t, v, test in zip(study.tries, valid, tests, strict=True)]
            for tests in ([0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1])
        )
        assert [study.worth(r) for r in one] == [study.worth(r) for r in other] == valid
