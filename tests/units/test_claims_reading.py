"""Claims as they stand in a file: read onto normalised trials, and every bad input named with file, line and key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness import spec
from harness.claims import Compare, Linear
from harness.cli.main import main
from harness.errors import UserError

TEXT = """\
question: What holds?
seeds: 2
set: {hidden_size: 4, examples: 64, evaluations: 1}
claims:
  - claim: An LSTM is better than a plain network.
    source: a book
    set: {clip_norm: 1.0}
    sweep: {task: {name: digits, steps: 8}, cell: [elman, lstm], bptt_length: [2, 3, 4, 8]}
    checks:
      - {measure: score, better: {cell: lstm, bptt_length: null}, than: {cell: elman, bptt_length: null}, times: 2}
      - {measure: activation_bytes, linear_in: bptt_length, where: {cell: lstm}}
"""
UP_TO_CLAIMS, UP_TO_FIRST, UP_TO_SWEEP, UP_TO_CHECKS = (
    TEXT[: TEXT.index(word)] for word in ("claims:", "  - claim", "    sweep", "    checks")
)
FIRST, SECOND = (line.strip() for line in TEXT.splitlines()[-2:])


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., spec.Benchmark]:
    """Read a benchmark of this text, named x.yaml."""
    monkeypatch.chdir(tmp_path)

    def from_text(text: str = TEXT, *overrides: str) -> spec.Benchmark:
        Path("x.yaml").write_text(text)
        return spec.load("x.yaml", overrides)

    return from_text


def test_a_claim_has_its_own_trials_and_checks(load) -> None:
    benchmark = load()
    (claim,) = benchmark.claims
    assert (claim.text, claim.source) == ("An LSTM is better than a plain network.", "a book")
    assert claim.trials == benchmark.trials and len(claim.trials) == 16
    assert {trial.clip_norm for trial in claim.trials} == {1.0} and {trial.hidden_size for trial in claim.trials} == {4}
    whole = {"bptt_length": None}
    assert claim.checks == (
        Compare("score", "better", {"cell": "lstm", **whole}, {"cell": "elman", **whole}, 2.0),
        Linear("activation_bytes", "bptt_length", {"cell": "lstm"}),
    )


def test_a_file_may_have_claims_beside_a_sweep_of_its_own(load) -> None:
    benchmark = load(TEXT.replace("claims:", "sweep: {task: {name: adding, length: 9}, cell: gru}\nclaims:"))
    assert len(benchmark.trials) == 18 and len(benchmark.claims[0].trials) == 16


def test_a_claim_may_ask_for_seeds_of_its_own(load) -> None:
    text = TEXT.replace("    set: {clip", "    seeds: [3, 7, 9]\n    set: {clip") + "sweep: {task: adding, cell: gru}\n"
    benchmark = load(text)
    assert {trial.seed for trial in benchmark.claims[0].trials} == {3, 7, 9}
    assert {trial.seed for trial in benchmark.trials if trial.cell["name"] == "gru"} == {0, 1}
    assert {trial.seed for trial in load(text, "seeds=1").trials} == {0}


def check(text: str) -> str:
    return TEXT.replace(FIRST, f"- {text}")


AT = "x.yaml:10: claims[0].checks[0]"
CASES = {
    "no claim": (TEXT.replace("- claim: An", "- clai: An"), "x.yaml:5: claims[0].clai: unknown key 'clai'"),
    "no claim 2": (TEXT.replace("- claim: An", "- clai: An"), "claims[0].claim: no claim\n  allowed: a sentence"),
    "no source": (TEXT.replace("    source: a book\n", ""), "claims[0].source: no source\n  allowed: a sentence"),
    "source is a number": (TEXT.replace("a book", "1990"), "x.yaml:6: claims[0].source: got 1990"),
    "no sweep": (TEXT.replace("    sweep:", "    sweeep:"), "x.yaml:8: claims[0].sweeep: unknown key 'sweeep'"),
    "no sweep 2": (UP_TO_SWEEP, "x.yaml:7: claims[0].set: no task"),
    "misspelt in the sweep": (
        TEXT.replace("cell: [", "cel: ["),
        "x.yaml:8: claims[0].sweep.cel: unknown setting 'cel'",
    ),
    "seeds": (TEXT.replace("    set: {clip", "    seeds: 0\n    set: {clip"), "x.yaml:7: claims[0].seeds: got 0"),
    "no checks": (UP_TO_CHECKS, "x.yaml:5: claims[0].checks: no checks"),
    "empty checks": (
        UP_TO_CHECKS + "    checks: []\n",
        "claims[0].checks: got an empty list",
    ),
    "checks are null": (
        UP_TO_CHECKS + "    checks:\n",
        "x.yaml:9: claims[0].checks: got null",
    ),
    "claims are a number": (
        UP_TO_CLAIMS + "claims: 3\n",
        "x.yaml:4: claims: got 3\n  allowed: a claim",
    ),
    "claims are null": (
        UP_TO_CLAIMS + "claims:\n",
        "x.yaml:4: claims: got null\n  allowed: a claim",
    ),
    "claims are empty": (UP_TO_CLAIMS + "claims: []\n", "x.yaml:4: claims: got an empty list"),
    "a claim is text": (
        UP_TO_FIRST + "  - lstm wins\n",
        "x.yaml:5: claims[0]: got 'lstm wins'",
    ),
    "a check is text": (check("lstm wins"), f"{AT}: got 'lstm wins'\n  allowed: a check"),
    "key": (check("{measure: score, beter: {cell: lstm}, than: {cell: elman}}"), f"{AT}.beter: unknown key 'beter'"),
    "key 2": (check("{measure: score, beter: {cell: lstm}, than: {}}"), "try: did you mean 'better'?"),
    "measure": (check("{measure: scor, better: {}, than: {}}"), f"{AT}.measure: unknown measure 'scor'"),
    "measure 2": (check("{measure: gradient_norm_p9, less: {}, than: {}}"), "did you mean 'gradient_norm_p99'?"),
    "measure is a list": (check("{measure: [score], less: {}, than: {}}"), "unknown measure ['score']"),
    "no measure": (check("{better: {cell: lstm}, than: {cell: elman}}"), f"{AT}.measure: no measure\n  allowed: score"),
    "a task's metric": (
        check("{measure: accuracy, greater: {}, than: {}}"),
        f"{AT}.measure: accuracy is the score of a task",
    ),
    "no than": (check("{measure: score, better: {cell: lstm}}"), f"{AT}: `better` without `than`"),
    "nothing claimed": (check("{measure: score, than: {cell: lstm}}"), f"{AT}: claims nothing"),
    "two relations": (check("{measure: score, less: {}, better: {}, than: {}}"), f"{AT}: less and better in one check"),
    "mixed": (
        check("{measure: score, linear_in: bptt_length, than: {cell: lstm}}"),
        f"{AT}.than: unknown key 'than'\n  allowed: measure, linear_in, where",
    ),
    "no direction": (
        check("{measure: parameters, better: {cell: lstm, bptt_length: 2}, than: {cell: elman, bptt_length: 2}}"),
        f"{AT}.better: more of parameters is neither better nor worse\n  allowed: greater, less",
    ),
    **{
        f"times {times}": (TEXT.replace("times: 2", f"times: {times}"), f"{AT}.times: got {said}")
        for times, said in (("0", "0"), ("-1", "-1"), ("true", "true"), ("twice", "'twice'"), ("null", "null"))
    },
    "side is text": (check("{measure: score, better: lstm, than: {cell: elman}}"), f"{AT}.better: got 'lstm'"),
    "fits several": (
        check("{measure: score, better: {cell: lstm}, than: {cell: elman, bptt_length: 2}}"),
        f"{AT}.better: fits 4 variants\n  allowed: settings that pick out one variant\n  try: add bptt_length",
    ),
    "fits none": (
        check("{measure: score, better: {cell: gru}, than: {cell: elman, bptt_length: 2}}"),
        f"{AT}.better.cell: no trial of this claim has 'gru'\n  allowed: 'elman', 'lstm'",
    ),
    "setting": (
        check("{measure: score, better: {cel: gru}, than: {cell: elman, bptt_length: 2}}"),
        f"{AT}.better.cel: unknown setting 'cel'",
    ),
    "setting of the task": (check("{measure: score, better: {task.step: 1}, than: {}}"), "did you mean 'task.steps'?"),
    "bool is no number": (
        check("{measure: score, better: {layers: true}, than: {}}"),
        f"{AT}.better.layers: no trial of this claim has true\n  allowed: 1",
    ),
    "as long as the sequence": (
        check("{measure: score, better: {cell: lstm, bptt_length: 8}, than: {cell: lstm, bptt_length: 2}}"),
        f"{AT}.better.bptt_length: no trial of this claim has 8\n  allowed: 2, 3, 4, null\n"
        "  try: bptt_length: null; a window as long as the sequence, and that of a cell without state, is null",
    ),
    "one variant against itself": (
        check("{measure: score, better: {cell: lstm, bptt_length: 2}, than: {bptt_length: 2, cell: lstm}}"),
        f"{AT}: both sides are one variant",
    ),
    "line in a misspelt setting": (
        check("{measure: score, linear_in: bptt_lenght, where: {cell: lstm}}"),
        f"{AT}.linear_in: unknown setting 'bptt_lenght'",
    ),
    "line in what is no number": (
        check("{measure: score, linear_in: cell, where: {bptt_length: 2}}"),
        f"{AT}.linear_in: cell has 0 of the 3 numbers or more that show a line",
    ),
    "line through one point": (
        check("{measure: score, linear_in: task.steps, where: {cell: lstm}}"),
        f"{AT}.linear_in: task.steps has 1 of the 3 numbers or more that show a line",
    ),
    "line of two variants": (
        check("{measure: score, linear_in: bptt_length}"),
        f"{AT}.where: fits 2 variants where bptt_length is 2\n  allowed: settings that pick out one variant\n"
        "  try: add cell",
    ),
    "where fits none": (
        check("{measure: score, linear_in: bptt_length, where: {cell: gru}}"),
        f"{AT}.where.cell: no trial of this claim has 'gru'",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_named_with_file_line_and_key(load, case: str) -> None:
    text, words = CASES[case]
    assert text != TEXT
    with pytest.raises(UserError) as refused:
        load(text)
    assert words in str(refused.value), str(refused.value)


def test_faults_of_several_checks_are_told_at_once(load) -> None:
    broken = TEXT.replace(FIRST, "- {measure: scor, better: {}, than: {}}").replace("linear_in: bptt", "linear_in: bpt")
    with pytest.raises(UserError) as refused:
        load(broken)
    assert [fault.where.split(":")[1] for fault in refused.value.faults] == ["10", "11"]


def test_faults_of_sweeps_claims_and_checks_are_told_at_once(load) -> None:
    """A sweep at fault, and a claim with one and without: all that can be said of each is."""
    other = UP_TO_CHECKS[UP_TO_CHECKS.index("  - claim") :].replace("cell: [", "kernel: fused, cell: [feedforward, ")
    other += (
        "    checks: [{measure: score, better: {cel: lstm, task.a: 1}, than: lstm}, {measure: score, linear_in: x}]\n"
    )
    broken = TEXT.replace("question: What holds?", "quesion: What?").replace("seeds: 2", "seeds: 0")
    other += "sweep: {task: adding, cell: gru, kernel: scan}\n"
    broken = broken.replace("- claim: An", "- clai: An").replace("better: {cell: lstm", "better: {cell: gru")
    with pytest.raises(UserError) as refused:
        load(broken + other.replace("source: a book", "source: 7"))
    assert sorted((int(fault.where.split(":")[1]), fault.what) for fault in refused.value.faults) == [
        (1, "no question"),
        (1, "unknown key 'quesion'"),
        (2, "got 0"),
        (5, "no claim"),
        (5, "unknown key 'clai'"),
        (10, "no trial of this claim has 'gru'"),
        (13, "got 7"),
        (15, "kernel: cell 'feedforward' has no 'fused' kernel"),
        (16, "got 'lstm'"),
        (16, "unknown setting 'cel'"),
        (16, "unknown setting 'x'"),
        (17, "kernel: cell 'gru' has no 'scan' kernel"),
    ]


def test_an_override_at_fault_blames_no_grid_for_it(load) -> None:
    with pytest.raises(UserError) as refused:
        load(TEXT.replace("examples: 64, ", ""), "exampels=64")
    assert [fault.where for fault in refused.value.faults] == ["--set exampels=64"]


def test_settings_that_never_stand_together_fit_nothing(load) -> None:
    text = TEXT.replace(
        "sweep: {task: {name: digits, steps: 8}, cell: [elman, lstm], bptt_length: [2, 3, 4, 8]}",
        "sweep: [{task: digits, cell: lstm}, {task: adding, cell: gru}]",
    ).replace(SECOND, "")
    odd = "- {measure: score, less: {cell: lstm, task: adding}, than: {cell: gru}}"
    with pytest.raises(UserError, match="fits no variant: no trial of this claim has all of it"):
        load(text.replace(FIRST, odd))
    with pytest.raises(UserError, match="accuracy of one task against mse of another"):
        load(text.replace(FIRST, "- {measure: score, less: {cell: lstm}, than: {cell: gru}}"))


def test_an_override_that_takes_a_variant_away_is_refused_and_seeds_are_not(load) -> None:
    assert len(load(TEXT, "seeds=1").claims[0].trials) == 8
    with pytest.raises(UserError, match=r"claims\[0\].checks\[0\].than.cell: no trial of this claim has 'elman'"):
        load(TEXT, "cell=lstm")


def test_the_claims_of_the_project_are_read_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(__file__).parents[2] / "benchmarks" / "claims.yaml"
    benchmark = spec.load(path, ["seeds=1"])
    assert len(benchmark.claims) > 5 and all(claim.checks for claim in benchmark.claims)
    assert main(["show", str(path), "--set", "seeds=1"]) == 0
    assert f"{len(benchmark.trials)} trials, 0 of them stored" in capsys.readouterr().out
