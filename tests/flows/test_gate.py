"""`harness compare` as a whole: two folders, and two revisions in turn on this machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from report_records import grid, record

from harness import against, cli
from harness.store import Store

TINY = """\
question: Is it slower?
set: {hidden_size: 4, evaluations: 1}
sweep:
  task: {name: adding, length: 5, train_examples: 100, valid_examples: 20, test_examples: 20}
  cell: [elman, feedforward]
  examples: 320
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path / "tiny.yaml"


@pytest.mark.slow
def test_the_same_tree_against_itself_equals_itself_and_leaves_nothing(tiny, capsys, tmp_path):
    if not (against.ROOT / ".git").exists():  # an unpacked archive has no revisions: that is said, and all there is
        assert cli.main(["compare", str(tiny), "--against", "HEAD"]) == 2
        assert "needs a git checkout" in capsys.readouterr().err
        return
    code = cli.main(["compare", str(tiny), "--against", "HEAD", "--seconds", "40", "--output", str(tmp_path / "out")])
    told = capsys.readouterr().out
    assert code in (0, 4), told  # 4: so busy a machine that nothing can be decided; never an alarm
    assert "equal to the last bit" in told
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"compare.xml", "compare.md", "compare.json", "action-benchmark.json"}
    trees = subprocess.run(["git", "worktree", "list"], cwd=against.ROOT, capture_output=True, text=True, check=True)
    assert "harness-base-" not in trees.stdout


@pytest.mark.slow
def test_a_side_that_breaks_is_neither_a_pass_nor_a_regression(tiny, tmp_path):
    tree = tmp_path / "tree"
    (tree / "harness").mkdir(parents=True)
    (tree / "harness" / "__init__.py").write_text("raise RuntimeError('an old fault')")
    with pytest.raises(against.Broken) as caught:
        against.Side("old", tree, tiny, tmp_path / "log")
    assert "old ended with exit code 1" in str(caught.value) and "an old fault" in str(caught.value)
    assert caught.value.exit_code == 5
    (tree / "harness" / "__init__.py").write_text("__version__ = '0'")
    with pytest.raises(against.Broken, match="the code that ran lies in"):  # an installed harness stood in for it
        against.Side("old", tree, tiny, tmp_path / "log")


def test_a_slower_side_is_found_and_confirmed():
    class Fake(against.Side):
        """A side with made-up times: what is tested is what is made of them."""

        def __init__(self, seconds: float) -> None:
            self.labels, self.seconds = ["one", "two"], seconds

        def run(self, number: int):
            return {"update_seconds": [self.seconds * (1 + 0.1 * number)] * 10, "warmup_updates": 1}

    said: list[str] = []
    lines = against._timed(Fake(1.0), Fake(1.2), [0, 1], 0.5, float("inf"), said.append)
    assert [line.verdict for line in lines] == ["slower"] * 3 and "once more: one, two" in said
    lines = against._timed(Fake(1.0), Fake(1.0), [0, 1], 0.5, float("inf"), said.append)
    assert [line.verdict for line in lines] == ["not significant"] * 3 and len(said) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compare", "results/none"], "two folders of results"),
        (["compare", "{tiny}", "--against", "no-such-revision"], "no revision 'no-such-revision'"),
        (["compare", "{tiny}", "--against=--upload-pack=x"], "is no revision"),
        (["compare", "{tiny}", "{tiny}", "--against", "HEAD"], "not two folders"),
        (["compare", "{tmp}/a", "{tmp}/b"], "no results at"),
        (["compare", "{tmp}/none.yaml", "--against", "HEAD"], "none.yaml"),
    ],
)
def test_bad_input_ends_with_2(arguments, words, tiny, tmp_path, capsys):
    given = [text.format(tiny=tiny, tmp=tmp_path) for text in arguments]
    assert cli.main(given) == 2
    assert words in capsys.readouterr().err


def test_two_folders_by_the_command(tmp_path, capsys):
    for name in ("a", "b"):
        store = Store(tmp_path / name, "ci", "test-2c-01234567")
        for trial in grid(2)[:4]:
            store.write(record(trial, update_seconds=[0.01] * 20, warmup_updates=3))
    code = cli.main(["compare", str(tmp_path / "a" / "ci"), str(tmp_path / "b" / "ci")])
    told = capsys.readouterr().out
    assert code == 4 and "inconclusive" in told and "equal to the last bit" in told
    assert cli.main(["compare", str(tmp_path / "a" / "ci"), str(tmp_path / "a" / "ci")]) == 4
