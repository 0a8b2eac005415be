"""`harness compare` as a whole: two folders, and two revisions in turn on this machine."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from report_records import grid, record

from harness.cli import main as cli
from harness.compare import against, variants
from harness.compare.result import Comparison
from harness.compare.sides import ROOT, Broken, Refused, Tree, started
from harness.storage.store import Store

TINY = """\
question: Is it slower?
set: {hidden_size: 4, evaluations: 1}
sweep:
  task: {name: adding, length: 5, train_examples: 100, valid_examples: 20, test_examples: 20}
  cell: [elman, feedforward]
  examples: 1280
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path / "tiny.yaml"


@pytest.mark.slow
def test_the_same_tree_against_itself_equals_itself_and_leaves_nothing(tiny, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # another gate on this machine has a tree of its own
    if not (ROOT / ".git").exists():  # an unpacked archive has no revisions: that is said, and all there is
        assert cli.main(["compare", str(tiny), "--against", "HEAD"]) == 2
        assert "needs a git checkout" in capsys.readouterr().err
        return
    code = cli.main(["compare", str(tiny), "--against", "HEAD", "--seconds", "40", "--output", str(tmp_path / "out")])
    told = capsys.readouterr().out
    assert code in (0, 4), told  # 4: so busy a machine that nothing can be decided; never an alarm
    assert "equal to the last bit" in told
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"compare.xml", "compare.md", "compare.json", "action-benchmark.json"}
    trees = subprocess.run(["git", "worktree", "list"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert str(tmp_path) not in trees.stdout and not [*tmp_path.glob("harness-*")]
    kept = json.loads((tmp_path / "out" / "compare.json").read_text())
    times = [line for line in kept["lines"] if line["of"] == "time" and line["name"] != "all together"]
    assert kept["machine"]["fingerprint"] and all(len(line["seconds_base_new"][0]) == 40 for line in times)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="an unpacked archive has no revisions")
def test_one_that_is_told_to_end_leaves_no_tree(tiny: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harness", "compare", str(tiny), "--against", "HEAD"]
    own = os.environ | {"TMPDIR": str(tmp_path / "tmp"), "PYTHONUNBUFFERED": "1"}
    (tmp_path / "tmp").mkdir()
    with subprocess.Popen(command, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        assert "in turn" in process.stdout.readline()
        assert [path.name[:13] for path in (tmp_path / "tmp").glob("harness-base-*")] == ["harness-base-"]
        process.terminate()
        assert process.wait(60) == 75 and "stopped" in process.stderr.read()
    assert not [*(tmp_path / "tmp").glob("harness-*")]
    trees = subprocess.run(["git", "worktree", "list"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert str(tmp_path) not in trees.stdout


def altered(tmp_path: Path, more: str) -> Tree:
    """A copy of this tree with more at the end of what trains."""
    shutil.copytree(ROOT / "harness", tmp_path / "tree" / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "tree" / "harness" / "training" / "module.py").open("a") as file:
        file.write(more)
    return Tree("altered", tmp_path / "tree")


@pytest.mark.slow
def test_a_slower_tree_is_found_confirmed_and_computes_the_same(tiny, tmp_path):
    slower = (
        runpy.run_path(str(ROOT / "benchmarks" / "gate.py"))["SLOWER"].replace("SHARE", "1.0").replace("CELL", "''")
    )
    said: list[str] = []
    with started(tiny, Tree("base", ROOT), altered(tmp_path, slower), time.monotonic() + 90) as starter:
        with starter.pair() as pair:
            processes = [side.process for side in (pair.base, pair.new)]
            labels = pair.base.labels
        lines = against._compared(starter, 0.2, said.append)
    facts, times = lines[:4], lines[4:]
    assert [line.verdict for line in facts] == ["equal"] * 4
    assert [line.verdict for line in times] == ["slower"] * 3 and all(label in said[1] for label in labels)
    assert len(times[0].raw) >= 2  # in fresh processes
    assert not any("further seeds" in text for text in said), "equal bits are equal scores"
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


LEARNS = """\
question: Does it learn less?
set: {hidden_size: 8, evaluations: 1, learning_rate: 0.03}
sweep:
  task: {name: adding, length: 5, train_examples: 400, valid_examples: 20, test_examples: 100}
  cell: [elman, feedforward]
  examples: 1600
"""
RATE = """

_optimizer = RecurrentModule.configure_optimizers


def _other_rate(self: Any) -> Any:
    made = _optimizer(self)
    for group in made.param_groups:
        group["lr"] *= FACTOR
    return made


RecurrentModule.configure_optimizers = _other_rate
"""


@pytest.mark.slow
@pytest.mark.parametrize(("factor", "verdict", "code"), [(0.01, "worse", 3), (1 + 2**-20, "not worse", 0)])
def test_a_tree_that_learns_less_is_worse_and_one_of_other_bits_is_not(factor, verdict, code, tmp_path):
    """Both change every fact, and changes are accepted: the scores decide, over seeds that the file has not."""
    (tmp_path / "learns.yaml").write_text(LEARNS)
    tree, said, first = altered(tmp_path, RATE.replace("FACTOR", repr(factor))), [], against.Measured()
    with started(tmp_path / "learns.yaml", Tree("base", ROOT), tree, time.monotonic() + 90) as starter:
        with starter.pair() as pair:
            once, settings = {n: first.run(pair, n) for n in (0, 1)}, pair.new.settings
        found = variants.variants_of(settings, once)
        lines = variants.lines_of(found, starter, first.wall, said.append)
    facts, scores = lines[::2], lines[1::2]
    assert [line.verdict for line in facts] == ["changed"] * 2
    assert [line.verdict for line in scores] == [verdict] * 2, scores
    assert Comparison("base", "new", lines, accept_changes=True).exit_code == code
    assert [text.partition(" of what changed")[0] for text in said] == ["further seeds, up to 4 a side,"] or code == 0
    assert all(len(each.pairs) == 4 if code else len(each.pairs) < 4 for each in found)
    assert all(each.pairs[-1][0].seed == each.seeds[-1] == len(each.pairs) - 1 for each in found)


STOPS = """

def _asleep(self: Any, batch: Any) -> None:
    import time

    time.sleep(600)


RecurrentModule._update = _asleep
"""


@pytest.mark.slow
def test_a_side_that_comes_to_no_end_ends_undecided_when_the_time_is_up(tiny, tmp_path):
    with started(tiny, Tree("base", ROOT), altered(tmp_path, STOPS)) as starter:
        with starter.pair():  # the libraries are imported, however busy the machine
            starter.end = time.monotonic() + 15
        lines = against._compared(starter, 0.2, lambda _: None)
        assert time.monotonic() < starter.end + 5
    assert {line.verdict for line in lines} == {"inconclusive"} and Comparison("a", "b", lines).exit_code == 4
    assert {line.kind for line in lines} == {"facts", "score", "time"} and not any("nan" in x.numbers for x in lines)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="an unpacked archive has no revisions")
@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.03, 0.1])
def test_without_time_for_a_single_trial_nothing_is_compared_and_nothing_left(seconds, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = against.compare("HEAD", tiny, time.monotonic() + seconds)
    assert found.exit_code == 4 and not found.lines
    assert "nothing was compared" in found.notes[0] and "--seconds" in found.notes[0]
    trees = subprocess.run(["git", "worktree", "list"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert str(tmp_path) not in trees.stdout and not [*tmp_path.glob("harness-*")]


@pytest.mark.slow
def test_a_side_that_breaks_is_neither_a_pass_nor_a_regression(tiny, tmp_path):
    tree = tmp_path / "tree"
    (tree / "harness").mkdir(parents=True)
    (tree / "harness" / "__init__.py").write_text("raise RuntimeError('an old fault')")
    with started(tiny, Tree("old", tree), Tree("new", ROOT)) as starter:
        with pytest.raises(Broken) as caught, starter.pair():
            pass
        assert "old ended before its work was done" in str(caught.value) and "an old fault" in str(caught.value)
        assert caught.value.exit_code == 5
        (tree / "harness" / "__init__.py").write_text(f"__version__ = '0'\n__path__.append({str(ROOT / 'harness')!r})")
        with pytest.raises(Broken, match="the code that ran lies in"), starter.pair():  # another one stood in for it
            pass


@pytest.mark.slow
def test_a_revision_that_has_not_what_the_file_asks_for_is_no_baseline_and_no_crash(tiny, tmp_path):
    old = altered(tmp_path, "")
    (old.folder / "harness" / "cells" / "feedforward.py").unlink()
    with started(tiny, old, Tree("new", ROOT)) as starter, pytest.raises(Refused) as caught, starter.pair():
        pass
    assert caught.value.exit_code == 4
    assert "altered cannot read tiny.yaml" in str(caught.value) and "feedforward" in str(caught.value)


def test_a_trial_that_fails_on_both_sides_is_no_pass():
    trial = grid(1)[0].normalised()
    both = record(trial, status="failed", reason="ValueError: no data").plain()
    with pytest.raises(Broken, match="failed on both sides: ValueError: no data"):
        variants.variants_of([trial.model_dump(mode="json")], {0: (both, both)})


def test_each_ratio_is_of_both_orders_and_many_are_put_together():
    warm = 0.8  # who computes twice in a row finds its data in the cache
    seconds = [(1.0, warm * 1.1) if turn % 2 else (warm, 1.1) for turn in range(44)]
    assert against.ratios_of(seconds) == pytest.approx([1.1] * 20)
    assert against.ratios_of(seconds[:5]) == []
    many = against.ratios_of(seconds * 1000)
    assert len(many) <= against.MOST and many == pytest.approx([1.1] * len(many))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compare", "results/none"], "two folders of results"),
        (["compare", "results/none"], "harness compare BENCHMARK.yaml --against REVISION"),
        (["compare", "{tiny}"], "tiny.yaml --against REVISION"),
        (["compare", "{tiny}", "{tmp}"], "this is a file"),
        (["compare", "{tiny}", "--against", "no-such-revision"], "no revision 'no-such-revision'"),
        (["compare", "{tiny}", "--against", "0123456789abcdef" + "c0" * 12], "no revision '0123456789ab…'"),
        (["compare", "{tiny}", "--against=--upload-pack=x"], "is no revision"),
        (["compare", "{tiny}", "{tiny}", "--against", "HEAD"], "not two folders"),
        (["compare", "{tmp}/a", "{tmp}/b"], "no results at"),
        (["compare", "{tmp}/none.yaml", "--against", "HEAD"], "none.yaml"),
        (["compare", "{tmp}/nothing.yaml", "--against", "HEAD"], "sweeps nothing"),
        (
            ["compare", "{tmp}/workers.yaml", "--against", "HEAD"],
            "workers: 2: --against trains each trial in one process",
        ),
        (["compare", "{tmp}/search.yaml", "--against", "HEAD"], "search: optuna"),
        (["compare", "{tiny}", "--against", "HEAD", "--output", "{tiny}"], "--output: this is a file"),
        (["compare", "{tmp}", "{tmp}", "--output", "{tiny}/in/it"], "--output: this is a file"),
    ],
)
def test_bad_input_ends_with_2(arguments, words, tiny, tmp_path, capsys):
    (tmp_path / "nothing.yaml").write_text("question: Which?\nsweep: {task: adding, cell: [], examples: 64}\n")
    (tmp_path / "workers.yaml").write_text(TINY.replace("set: {", "set: {workers: 2, "))
    search = "search: {kind: optuna, tries: 2, space: {learning_rate: [0.1, 0.01]}}\n"
    (tmp_path / "search.yaml").write_text(TINY.replace("sweep:", search + "sweep:"))
    given = [text.format(tiny=tiny, tmp=tmp_path) for text in arguments]
    assert cli.main(given) == 2
    told = capsys.readouterr()
    assert words in told.err and not told.out, "nothing has run"


def test_a_step_summary_is_written_where_one_is_asked_for_and_never_costs_the_verdict(tmp_path, capsys, monkeypatch):
    store = Store(tmp_path / "a", "ci", "test-2c-01234567")
    for trial in grid(2)[:4]:
        store.write(record(trial, update_seconds=[0.01] * 40, warmup_updates=3))
    command = ["compare", str(tmp_path / "a" / "ci"), str(tmp_path / "a" / "ci")]
    code = cli.main(command)
    capsys.readouterr()
    for place in (tmp_path / "summary.md", tmp_path / "none" / "summary.md"):
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(place))
        assert cli.main(command) == code
        told = capsys.readouterr().err
        assert place.exists() == (not told)
        if told:
            assert told.startswith("warning: no step summary was written: No such file") and str(place) in told
    assert (tmp_path / "summary.md").read_text().startswith("### ")


def test_a_baseline_that_is_not_there_yet_is_no_pass_and_no_mistake(tmp_path, capsys):
    """As in CI's first run; without new numbers there is nothing to ask about."""
    for trial in grid(1)[:2]:
        Store(tmp_path / "b", "ci", "test-2c-01234567").write(record(trial))
    (tmp_path / "empty").mkdir()
    for base in ("absent", "empty"):
        assert cli.main(["compare", str(tmp_path / base), str(tmp_path / "b" / "ci")]) == 4
        told = " ".join(capsys.readouterr().out.split())
        assert "no comparable baseline: no trial is stored in" in told and "harness run BENCHMARK" in told
    assert cli.main(["compare", str(tmp_path / "b" / "ci"), str(tmp_path / "empty")]) == 2
    assert "no stored trial" in capsys.readouterr().err


def test_two_folders_by_the_command(tmp_path, capsys):
    for name, seconds in (("a", [0.01] * 20), ("b", [0.01] * 20), ("c", [0.01, 0.02] * 3 + [0.01] * 7 + [0.02] * 7)):
        store = Store(tmp_path / name, "ci", "test-2c-01234567")
        for trial in grid(2)[:4]:
            store.write(record(trial, update_seconds=seconds, warmup_updates=3))
    for name, code, verdict in (("a", 0, "not significant"), ("b", 0, "not significant"), ("c", 4, "inconclusive")):
        assert cli.main(["compare", str(tmp_path / "a" / "ci"), str(tmp_path / name / "ci")]) == code
        told = " ".join(capsys.readouterr().out.split())
        assert verdict in told and "equal to the last bit" in told and "harness compare --against REVISION" in told


def test_a_crash_by_the_command_ends_with_5(tmp_path, capsys):
    store = Store(tmp_path, "ci", "test-2c-01234567")
    store.write(record(grid(1)[0], status="failed", reason="RuntimeError: can't allocate memory"))
    assert cli.main(["compare", str(tmp_path / "ci"), str(tmp_path / "ci")]) == 5
    told = capsys.readouterr().out
    assert "crashed" in told and "seed 0 failed on both" in told and "could not be made: a trial crashed" in told
