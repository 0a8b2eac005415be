"""`--help`, `list` and `show` answer at once and import nothing heavy; output, exit codes and pipes behave."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import harness
from harness import cost, machine, spec
from harness.cli import main as cli
from harness.record import Record
from harness.storage.store import Store

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    "numpy",
    "torch",
    "ray",
    "pytorch_lightning",
    "lightning",
    "wandb",
    "sklearn",
    "scipy",
    "matplotlib",
    "pyarrow",
    "pandas",
)
QUICK = [
    ["--help"], ["run", "--help"], ["list"], ["show", "benchmarks/quick.yaml"], ["show", "absent.yaml"],
    ["data", "list"],
]  # fmt: skip


def python(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run Python, in the project's folder unless told otherwise, with compiled modules kept as a user's Python does."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60, check=False)


def cpu_seconds(*words: str, cwd: Path = ROOT) -> float:
    """Return the processor time of one call: the command waits for nothing, and other jobs do not count."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    python(*words, cwd=cwd)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("words", QUICK, ids=" ".join)
def test_a_verb_that_only_looks_imports_nothing_heavy(words: list[str]) -> None:
    code = f"import sys; from harness.cli.main import main; main({words!r})"
    code += f"; print(sorted({set(HEAVY)!r} & set(sys.modules)))"
    assert python("-c", code).stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("words", QUICK, ids=" ".join)
def test_a_verb_that_only_looks_answers_in_half_a_second(words: list[str]) -> None:
    assert any(cpu_seconds("-m", "harness", *words) < 0.5 for _ in range(15))  # slower, now and then, on a shared core


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_table_on_a_terminal_of_few_letters_is_no_crash(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The arrow in a header ended `harness run` in a traceback, all trials trained, where the locale is not UTF-8."""
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    code = "from harness.cli.main import main; main(['--version'])\n"
    code += "from rich.console import Console; Console().print('error \N{DOWNWARDS ARROW} 0.5')"
    shown = python("-c", code)
    assert (shown.returncode, shown.stdout.splitlines()[1:], shown.stderr) == (0, ["error ? 0.5"], "")


def test_ctrl_c_while_it_imports_is_a_stop() -> None:
    code = "import sys, harness.__main__ as command\n"
    code += "class Hit:\n def find_spec(self, name, *_):\n  if name == 'harness.cli.main': raise KeyboardInterrupt\n"
    code += "sys.meta_path.insert(0, Hit()); sys.exit(command.main())"
    done = python("-c", code)
    assert (done.returncode, done.stdout, done.stderr) == (75, "", "error: stopped\n")


def test_help_names_every_verb_and_the_version_is_the_packages() -> None:
    said = python("-m", "harness", "--help").stdout
    assert all(f"  {verb} " in said for verb in ("list", "show", "run", "report"))
    assert python("-m", "harness", "--version").stdout == f"harness {harness.__version__}\n"
    bare = python("-m", "harness")
    assert (bare.returncode, bare.stdout, bare.stderr) == (0, said, "")


def test_list_names_what_there_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert cli.main(["list"]) == 0
    said = capsys.readouterr().out
    assert "benchmarks/quick.yaml  (at most 60 trials)" in said and "benchmarks/reference/" in said
    assert "  elman: " in said and "  adding: " in said
    assert "activation: tanh, relu (default 'tanh')" in said and "length: a whole number from 2 to" in said
    assert cli.main(["list", "tasks"]) == 0
    assert "elman" not in capsys.readouterr().out


def test_list_survives_a_broken_benchmark(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["list", "benchmarks"]) == 0
    assert "no *.yaml file" in capsys.readouterr().out
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "x.yaml").write_text("a: 1\nb: 2")
    assert cli.main(["list", "benchmarks"]) == 0
    assert "benchmarks/x.yaml  (3 faults: see `harness show benchmarks/x.yaml`)" in capsys.readouterr().out


def test_show_prints_each_variant_with_size_and_cost(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    assert cli.main(["show", "benchmarks/quick.yaml", "--results", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    benchmark = spec.load("benchmarks/quick.yaml")
    variants = {trial.canonical(): trial for trial in benchmark.trials if trial.seed == 0}.values()
    lines = said.splitlines()
    assert lines[0] == f"quick: {benchmark.question}"
    rows = [line.split() for line in lines if line.startswith(("digits ", "adding "))]
    assert [row[1] for row in rows] == [trial.cell["name"] for trial in variants]
    assert [row[-4] for row in rows] == [f"{cost.parameters(trial):,}" for trial in variants]
    assert f"{len(variants)} variants x 3 seeds = {len(benchmark.trials)} trials, 0 of them stored" in said
    assert "an estimate, within a factor of about 2" in said and not list(tmp_path.iterdir())


def test_a_broken_pipe_is_quiet() -> None:
    for verb in ("list", "show benchmarks/quick.yaml", "--help"):
        command = f"set -o pipefail; '{sys.executable}' -m harness {verb} | true"
        done = subprocess.run(
            ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_debug_adds_the_traceback_of_a_user_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--debug", "show", "absent.yaml"]) == 2
    said = capsys.readouterr().err
    assert "Traceback" in said and said.rstrip().splitlines()[-2] == "error: absent.yaml: no such file"
    assert cli.main(["show", "absent.yaml"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_an_error_of_ours_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr(spec, "load", bug)
    with pytest.raises(RuntimeError, match="ours"):  # Python prints its traceback and ends with 1
        cli.main(["show", "x.yaml"])


def test_a_cost_follows_from_shapes_alone() -> None:
    def trial(**settings: object) -> cost.Trial:
        given = {"task": {"name": "digits"}, "cell": {"name": "lstm"}, "hidden_size": 16, "examples": 100}
        return cost.Trial(**(given | settings)).normalised()

    shapes = cost.weight_shapes(trial(layers=2, bidirectional=True))
    assert shapes["layers.0.backward.weight_ih"] == (64, 1) and shapes["layers.1.forward.weight_ih"] == (64, 32)
    assert shapes["head.weight"] == (10, 32) and "encoder.weight" not in shapes
    assert cost.parameters(trial()) == 4 * 16 * (1 + 16 + 2) + 10 * 17
    one = cost.estimate(trial())
    assert (one.updates, one.tokens) == (4, 6400)
    assert one.flops == pytest.approx(6 * (6400 * 4 * 16 * (1 + 16) + 100 * 10 * 16))
    assert cost.estimate(trial(bptt_length=16)).flops < one.flops
    assert cost.estimate(trial(examples=None, tokens=6400)) == one
    assert cost.wall_seconds([trial()] * 4, 2) < cost.wall_seconds([trial()] * 4, 1)


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_record: Callable[..., Record]) -> Callable[..., None]:
    """Work in an empty folder with a benchmark x.yaml, and store records of its first trials by status."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text("question: Q?\nset: {task: adding, cell: [elman, gru, lstm], examples: 8}")

    def store(*statuses: str, fingerprint: str = "here", overrides: Sequence[str] = ()) -> None:
        for trial, status in zip(spec.load("x.yaml", overrides).trials, statuses, strict=False):
            about = {
                "benchmark": "x",
                "trial": trial.canonical(),
                "cell": trial.cell["name"],
                "fingerprint": fingerprint,
            }
            Store(tmp_path / "results", "x", fingerprint).write(make_record(trial.id, status=status, **about))

    return store


@pytest.mark.parametrize(("statuses", "code"), [("ok ok ok", 0), ("ok", 0), ("ok diverged ok", 5), ("ok failed ok", 5)])
def test_report_ends_with_5_unless_all_is_ok(
    stored: Callable[..., None], capsys: pytest.CaptureFixture[str], statuses: str, code: int
) -> None:
    stored(*statuses.split())
    assert cli.main(["report", "x.yaml"]) == code
    said = capsys.readouterr().out
    for kind in ("md", "csv", "html"):
        assert f"wrote results/x/x.{kind}" in said and Path(f"results/x/x.{kind}").stat().st_size
    assert cli.main(["report", "results/x"]) == code


def test_a_report_of_an_override_leaves_the_plain_one_alone(stored: Callable[..., None]) -> None:
    stored("ok", "ok", "ok")
    stored("ok", "ok", "ok", fingerprint="elsewhere", overrides=["layers=2"])
    assert cli.main(["report", "x.yaml"]) == 0
    plain = Path("results/x/x.md").read_bytes()
    assert cli.main(["report", "x.yaml", "--set", "layers=2"]) == 0
    assert len(list(Path("results/x").glob("x-set-*.md"))) == 1 and Path("results/x/x.md").read_bytes() == plain
    assert cli.main(["report", "x.yaml", "--set", "layers=3"]) == 2
    assert cli.main(["report", "results/x", "--set", "layers=2"]) == 2


def test_show_counts_what_is_stored_on_this_machine(
    stored: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    stored("ok", "diverged", fingerprint=machine.fingerprint())
    stored("ok", "ok", "ok", fingerprint="elsewhere")
    assert cli.main(["show", "x.yaml"]) == 0
    said = capsys.readouterr().out
    assert "3 trials, 2 of them stored" in said and "to run 1 trial on" in said
    stored("ok", "ok", "ok", fingerprint=machine.fingerprint())
    assert cli.main(["show", "x.yaml"]) == 0
    assert "nothing to run" in capsys.readouterr().out


def test_a_damaged_record_ends_with_6(stored: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    stored("ok", "ok", "ok")
    path = min(Path("results/x/here").glob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-9])
    assert cli.main(["report", "x.yaml"]) == 6
    assert path.name in capsys.readouterr().err and not Path("results/x/x.md").exists()
