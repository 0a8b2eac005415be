"""A secret in a benchmark or an argument is refused and never repeated, and none stands in what a failed trial says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness import redact, spec
from harness.cli.main import main
from harness.engine import run_trial
from harness.training.keeper import Keeper
from harness.trial import Trial

TEXT = """\
question: Who can keep a secret?
set: {hidden_size: 4, examples: 64, evaluations: 1}
sweep:
  - task: {name: adding, length: 8, train_examples: 64, valid_examples: 8, test_examples: 8}
    cell: elman
"""
CANARY = "zq7canary" + "4d1e8b"
MADE = "hf_" + "Zq7CanaryOfAMaker"
"""Looks like a key, whatever the environment holds."""


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must be refused, in a folder with x.yaml; return what it said, which repeats no secret."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOME_API_TOKEN", CANARY)
    monkeypatch.setenv("RAY_ADDRESS", "")

    def refused(text: str, *words: str) -> str:
        Path("x.yaml").write_text(text)
        assert main(words) == 2
        said = capsys.readouterr()
        assert not said.out and "zq7canary" not in said.err.lower(), said.err
        assert [path.name for path in tmp_path.iterdir()] == ["x.yaml"], "something was written"
        return said.err

    return refused


@pytest.mark.parametrize("secret", [CANARY, MADE, "https://me:zq7canarypassword@host/x"])
@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("Who can", "Who of {} can", 1),
        ("question:", "# {}\nquestion:", 1),
        ("evaluations: 1", "evaluations: 1, wandb_api_key: '{}'", 2),
        ("name: adding", "name: '{}'", 4),
    ],
)
@pytest.mark.parametrize("verb", ["run", "show", "submit"])
def test_a_benchmark_that_holds_a_secret_is_refused(told, secret, old, new, line, verb):
    more = ("--on", "cluster.yaml") if verb == "submit" else ()
    said = told(TEXT.replace(old, new.format(secret), 1), verb, "x.yaml", *more)
    assert f"error: x.yaml:{line}: holds " in said and "allowed: nothing secret" in said
    assert ("the value of the variable SOME_API_TOKEN" in said) == (secret == CANARY)


@pytest.mark.parametrize("secret", [CANARY, MADE])
@pytest.mark.parametrize("key", ["api_key", "name", "task.data", "cell"])
def test_an_argument_that_holds_one_is_refused(told, secret, key):
    assert f"error: --set {key}: holds " in told(TEXT, "run", "x.yaml", "--set", f"{key}={secret}")


@pytest.mark.parametrize(
    "words", [("show",), ("report",), ("data", "list"), ("sample",), ("list",), ("--debug", "show")]
)
def test_no_error_repeats_one(told, words):
    said = told(TEXT, *words, CANARY)
    assert redact.HIDDEN in said and ("Traceback" in said) == ("--debug" in words)


def test_a_revision_is_told_by_what_is_no_key_yet():
    """W&B's keys have been 40 hex digits, as a commit has: of a word that may be either, 28 stay hidden."""
    key = "0123456789" + "abcdef" * 5
    assert redact.revision(key, {}) == redact.text(redact.revision(key, {}), {}) == "0123456789ab…"
    assert redact.revision(key, {"WANDB_API_KEY": key}) == redact.HIDDEN
    assert redact.revision("release-1.0", {}) == "release-1.0"
    for words in (key, f"https://api.wandb.ai/{key}", f"--against {key}", f"no revision {key}", f"api_key={key}"):
        assert key[-28:] not in redact.text(words, {}) and redact.HIDDEN in redact.text(words, {})


def test_paths_and_hashes_are_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable may name a folder of data, and a cache may name its folders by 40 hex digits."""
    monkeypatch.setenv("PRIVATE_DATA", str(tmp_path))
    path = tmp_path / "x.yaml"
    path.write_text(TEXT.replace("Who", f"What of {tmp_path}/{'0a' * 20} and of {CANARY}"))
    assert len(spec.load(path).trials) == 1


class Leaking(Keeper):
    """Fails as a library does that says all it was given."""

    def on_train_start(self, *_: object) -> None:
        raise ConnectionError(f"no answer to {CANARY}")


def test_what_a_failed_trial_says_hides_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_TOKEN", CANARY)
    record = run_trial(Trial(task={"name": "digits"}, cell={"name": "gru"}, examples=64), keeper=Leaking())
    assert (record.status, record.reason) == ("failed", f"ConnectionError: no answer to {redact.HIDDEN}")
    assert redact.HIDDEN in record.traceback and CANARY not in record.traceback
