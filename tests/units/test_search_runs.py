"""Searches at work in this process: the same tries again, none twice, and what was stopped is ranked with nothing."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from report_records import record
from rich.console import Console

from harness import launch, spec
from harness.errors import UserError
from harness.launch.base import Target
from harness.launch.halving import Halving
from harness.record import Record
from harness.report import to_csv, to_markdown
from harness.report.build import build
from harness.report.plot_tries import effort
from harness.report.searched import searched
from harness.search import early
from harness.storage.store import Store

TEXT = """\
question: Which cell, each tuned as much as the other?
name: tuned
seeds: 2
set: {examples: 64, batch_size: 16, hidden_size: 4, evaluations: 4}
sweep: {task: {name: adding, length: 5, train_examples: 64, valid_examples: 32, test_examples: 32}, cell: [elman, gru]}
search:
  kind: KIND
  tries: 5
  space:
    learning_rate: {from: 0.001, to: 0.1, scale: log}
    clip_norm: [0.5, null]
"""


@pytest.fixture
def run(tmp_path: Path):
    """Run a benchmark in this process and return what came of it."""

    def go(kind: str, results: Path, text: str = TEXT) -> tuple[spec.Benchmark, list[Record]]:
        (tmp_path / "tuned.yaml").write_text(text.replace("KIND", kind))
        benchmark = spec.load(tmp_path / "tuned.yaml")
        return benchmark, launch.run(benchmark, results, Console(quiet=True), "inline", wandb="off", weights=False)

    return go


def numbers(records: list[Record]) -> list[tuple[str, dict]]:
    return [(r.search, {k: v for k, v in r.without_times().items() if v == v}) for r in records]


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["random", "optuna", "optuna\n  at_once: 2"])
def test_the_same_file_has_the_same_tries_and_a_killed_search_goes_on_from_its_records(run, tmp_path, kind):
    benchmark, one = run(kind, tmp_path / "one")
    assert len(one) == benchmark.size == 2 * 2 * 5
    tries = Counter((r.cell, r.seed) for r in one)
    assert set(tries.values()) == {5}
    said = [json.loads(r.search) for r in one]
    assert {(each["kind"], each["tries"], each["search"]) for each in said} == {
        (benchmark.search.kind, 5, benchmark.search.digest)
    }
    assert {each["try"] for each in said} == set(range(5))
    before = stamps(tmp_path / "one")
    assert numbers(run(kind, tmp_path / "one")[1]) == numbers(one) and stamps(tmp_path / "one") == before
    for number, path in enumerate(sorted((tmp_path / "one").rglob("*.parquet"))):  # as if it had been killed
        if number % 3:
            path.unlink()
    left = stamps(tmp_path / "one")
    assert numbers(run(kind, tmp_path / "one")[1]) == numbers(one)
    after = stamps(tmp_path / "one")
    assert after.keys() == before.keys() and all(after[name] == left[name] for name in left)


def test_more_tries_add_to_those_that_are_there(run, tmp_path):
    _, few = run("optuna", tmp_path / "r")
    _, more = run("optuna", tmp_path / "r", TEXT.replace("tries: 5", "tries: 7"))
    assert len(more) == 2 * 2 * 7 and {r.trial_id for r in few} < {r.trial_id for r in more}


@pytest.mark.parametrize("kind", ["asha", "population"])
def test_trials_that_run_side_by_side_are_not_run_one_by_one(run, tmp_path, kind):
    with pytest.raises(UserError, match=f"search: {kind} compares trials that run side by side"):
        run(kind, tmp_path / "r")


def test_the_best_try_is_chosen_on_validation_alone(run, tmp_path):
    benchmark, records = run("random", tmp_path / "r")
    tables = build("t", "?", records, benchmark.asked(records)).machines
    (line,) = searched(tables[0])
    assert "random, 5 tries for each variant and seed" in line and "median over 2 seeds" in line
    swapped = [r.replace(score=1 - r.score) for r in records]
    (other,) = searched(build("t", "?", swapped, benchmark.asked(records)).machines[0])
    assert line != other  # numbers change with the test split, and the order with them; the choice does not
    assert sorted(re.findall(r"\(clip [^)]*\)", line)) == sorted(re.findall(r"\(clip [^)]*\)", other))


@pytest.fixture
def halved(run, tmp_path):
    """A search that stopped 3 of 5 tries of each variant and seed early, as its records tell."""
    (tmp_path / "tuned.yaml").write_text(TEXT.replace("KIND", "asha"))
    benchmark = spec.load(tmp_path / "tuned.yaml")
    digest, records = benchmark.search.digest, []
    for study in benchmark.studies:
        for number, trial in enumerate(study.tries):
            about = {"search": study.note(number), "metric": "mse", "higher_is_better": False}
            if number < 2:
                records.append(record(trial, **about, score=0.5 + 0.1 * number, curve_valid_score=[0.9, 0.8, 0.7, 0.6]))
            else:  # better than any other, if it were compared
                about |= {"trial_id": early(trial.id, digest), "status": "stopped", "score": 0.0, "valid_score": 0.0}
                records.append(record(trial, **about, curve_valid_score=[0.95]))
    return benchmark, records


def test_what_was_stopped_early_is_counted_and_named_and_never_ranked(halved):
    benchmark, records = halved
    assert len(benchmark.answered(records)) == 20
    report = build("t", "?", records, benchmark.asked(records))
    (table,) = report.machines
    assert all(r.status == "ok" for row in table.rows for r in row.records) and len(table.stopped) == 12
    assert report.status == "20 of 20 trials stored: 8 ok, 0 diverged, 0 failed, 12 stopped early by their search."
    text = to_markdown.render(report)
    assert "12 trials stopped early by their search, after 1 evaluations (elman 6, gru 6)" in text
    assert "stopped" not in to_csv.render(report)
    assert all(row.score.center >= 0.5 for row in table.rows)  # the stopped ones say 0, which would be the best
    assert effort(table) == []  # each cell had as many tries, stopped or not


def test_a_stop_counts_for_the_search_that_made_it_alone(halved, tmp_path):
    benchmark, records = halved
    (tmp_path / "tuned.yaml").write_text(TEXT.replace("KIND", "random"))
    plain = spec.load(tmp_path / "tuned.yaml")
    assert {t.id for t in plain.trials} == {t.id for t in benchmark.trials}
    assert len(plain.answered(records)) == 8
    store = Store(tmp_path / "r", "tuned", "here")
    for each in records:
        store.write(each.replace(fingerprint="here"))
    assert sum(store.has(trial.id) for trial in plain.trials) == 8
    target = Target(str(tmp_path / "r"), "tuned", "here", False)
    assert len(target.ended() & {t.id for t in plain.trials}) == 8
    own = Target(str(tmp_path / "r"), "tuned", "here", False, search=benchmark.search.digest)
    assert own.ended() == {t.id for t in benchmark.trials}
    report = build("t", "?", plain.answered(records), plain.trials)
    assert report.status.startswith("8 of 20 trials stored") and not report.machines[0].stopped


def test_a_search_that_goes_on_remembers_its_rungs(halved, tmp_path):
    benchmark, records = halved
    store = Store(tmp_path / "r", "tuned", "here")
    for each in records[:5]:
        store.write(each.replace(fingerprint="here"))
    target = Target(str(tmp_path / "r"), "tuned", "here", False, search=benchmark.search.digest)
    halving = Halving(benchmark.studies, target)
    first, other = (halving.of[study.tries[0].id] for study in benchmark.studies[:2])
    assert first is not other  # no try is compared with one of another variant or seed
    (rungs,) = (bracket._rungs for bracket in first._brackets)
    assert sorted(rungs[-1][1].values()) == [-0.95] * 3 + [-0.9] * 2
    assert not any(recorded for _, recorded in other._brackets[0]._rungs)
