"""`harness sample`: every task's trained trial can be asked, from the command; what cannot be asked says what to do."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from harness import registry
from harness.cli import main as cli
from harness.engine import run_trial
from harness.metrics import METRICS
from harness.record import Record
from harness.storage.store import Store
from harness.trial import Trial

TASKS = registry.members("harness.tasks")
SMALL: dict[str, dict[str, Any]] = {
    "adding": {"length": 8},
    "autocomplete": {"characters": 20_000},
    "copying": {"delay": 5, "test_examples": 20},
    "digits": {"steps": 8},
    "mnist": {"steps": 28},
    "translation": {"pieces": 300},
    "summarization": {"pieces": 300},
    "chatbot": {"pieces": 300},
}
"""Settings that make a task's evaluation quick, where it has some."""
TYPED = {
    "sentiment": "a fine film", "pos": "They sing well .", "ner": "Ada lives in Rome", "translation": "a dog runs",
    "pronunciation": "harness", "summarization": "We train a network.", "chatbot": "hello", "autocomplete": "def f(",
    "music": "C4+E4 D4+F4", "image-generation": "",
}  # fmt: skip
"""What a user could type to a task; the others read a file or nothing."""


@cache
def trial(name: str) -> Trial:
    """The smallest trial of a task."""
    kind = TASKS[name]
    budget: dict[str, Any] = {"tokens": 200, "bptt_length": 8} if kind.stream is True else {"examples": 8}
    settings = {"hidden_size": 4, "evaluations": 1, "batch_size": 4, **budget}
    settings |= {"attention": "dot", "pointer": True} if kind.shared_symbols else {}
    return Trial(task={"name": name, **SMALL.get(name, {})}, cell={"name": "lstm"}, **settings).normalised()


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Callable[[str], tuple[Path, Record]]:
    """Train the smallest trial of a task once, and keep it as a run would."""
    root = tmp_path_factory.mktemp("results")

    @cache
    def train(name: str) -> tuple[Path, Record]:
        asked = trial(name)
        kept: list[bytes] = []
        record = run_trial(asked, "tiny", kept.append)
        assert record.status == "ok", record.traceback or record.reason
        store = Store(root, "tiny", record.fingerprint)
        store.write_weights(record.trial_id, kept[0])
        store.write(record)
        return root, record

    return train


@pytest.fixture
def ask(capsys) -> Callable[..., tuple[int, str, str]]:
    def run(record: Record | str, root: Path, *words: str) -> tuple[int, str, str]:
        named = record if isinstance(record, str) else record.trial_id
        capsys.readouterr()  # what training said before
        code = cli.main(["sample", named, "--results", str(root), *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_every_task_shows_what_a_trained_trial_answers_and_again_the_same(name, trained, ask):
    root, record = trained(name)
    code, out, err = ask(record, root)
    assert (code, err) == (0, "")
    head, blank, *rest = out.splitlines()
    assert record.trial_id in head and METRICS[record.metric].title in head and not blank
    labels = {line[:6].strip() for line in rest if line[:6].strip()}
    assert {"given", "got"} <= labels <= {"given", "wanted", "got"}
    assert ask(record, root) == (0, out, "")
    if name in TYPED:
        option = "--prompt" if TASKS[name].stream is True else "--input"
        code, out, err = ask(record, root, option, TYPED[name])
        assert (code, err) == (0, "") and "got" in out and "wanted" not in out


@pytest.mark.parametrize("name", [name for name, kind in TASKS.items() if kind.writes])
def test_answers_that_can_be_shown_or_played_go_into_a_file_which_is_never_overwritten(name, trained, ask, tmp_path):
    root, record = trained(name)
    out = tmp_path / f"answers{TASKS[name].writes}"
    code, said, err = ask(record, root, "--out", str(out))
    assert (code, err) == (0, "") and f"wrote {out}" in said and out.stat().st_size > 20
    before = out.read_bytes()
    code, said, err = ask(record, root, "--out", str(out))
    assert code == 2 and "this file exists, and stays" in err and out.read_bytes() == before
    assert ask(record, root, "--out", str(tmp_path / "x.txt"))[0] == 2
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_a_trial_is_found_by_the_beginning_of_its_id_and_by_its_file(trained, ask):
    root, record = trained("digits")
    (path,) = root.glob(f"*/*/{record.trial_id}.parquet")
    whole = ask(record, root)
    assert (
        whole == ask(record.trial_id[:9], root) == ask(str(path), root) == ask(str(path.with_suffix(".weights")), root)
    )


def test_an_id_that_no_record_has_says_where_it_looked_and_what_to_do(trained, ask):
    root, _ = trained("digits")
    for named in ("ffffffffff", "no-such-id", str(root / "absent.parquet"), ""):
        code, out, err = ask(named, root)
        assert (code, out) == (2, "") and f"no record {named!r}" in err and "harness run FILE trains one" in err


def test_an_id_that_several_records_begin_with_names_them(trained, ask, make_record, results):
    _, record = trained("digits")
    for trial_id in ("abc0", "abc1"):
        Store(results, "tiny", record.fingerprint).write(make_record(trial_id))
    code, out, err = ask("abc", results)
    assert (code, out) == (2, "") and "2 records fit 'abc'" in err and "abc0.parquet" in err and "abc1.parquet" in err


def stored(results: Path, record: Record) -> Path:
    """Store a record alone, without its weights."""
    store = Store(results, "tiny", record.fingerprint)
    store.write(record)
    return store.weights_path(record.trial_id)


def test_without_weights_it_says_how_to_get_them(trained, ask, results):
    _, record = trained("digits")
    stored(results, record)
    code, out, err = ask(record, results)
    assert (code, out) == (2, "") and "the weights of this trial were not kept" in err and "harness run" in err


def test_weights_that_are_not_the_records_are_damage(trained, ask, results):
    _, record = trained("digits")
    other, kept = trained("adding")[1], []
    run_trial(trial("adding"), "tiny", kept.append)
    for data in (kept[0], kept[0][:100], b""):
        stored(results, record).write_bytes(data)
        code, out, err = ask(record, results)
        assert (code, out) == (6, "") and "rm " in err, err
    assert other.weights_sha256 != record.weights_sha256


def test_a_trial_that_did_not_end_well_and_data_that_changed_are_refused(trained, ask, results):
    root, record = trained("digits")
    weights = next(root.glob(f"*/*/{record.trial_id}.weights")).read_bytes()
    for changes, what in (
        ({"status": "diverged"}, "diverged: nothing was trained"),
        ({"data_sha256": "0" * 64}, "the data are not those that this trial was trained on"),
    ):
        path = stored(results, record.replace(**changes))
        path.write_bytes(weights)
        code, out, err = ask(record, results)
        assert (code, out) == (2, "") and what in err
        path.with_suffix(".parquet").unlink()


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("digits", ["--prompt", "x"], "--prompt: task 'digits' does not go on from what it reads"),
        ("digits", ["--length", "3", "--seed", "1"], "--seed: task 'digits'"),
        ("digits", ["--beam-width", "2"], "--beam-width: task 'digits' writes nothing step by step"),
        ("digits", ["--index", "99999"], "--index: 99999\n  allowed: 0 to"),
        ("digits", ["--index", "-1"], "--index: -1\n  allowed: 0 to"),
        ("digits", ["--input", "x"], "takes no input of a user"),
        ("digits", ["--input", "x", "--index", "1"], "--input and --index: given together"),
        ("digits", ["--out", "x.png"], "answers of task 'digits' are words, which go into no file"),
        ("autocomplete", ["--index", "1"], "--index: task 'autocomplete' goes on from a prompt"),
        ("autocomplete", ["--temperature", "-1"], "--temperature"),
        ("autocomplete", ["--length", "0"], "--length"),
        ("reversal", ["--count", "2"], "--count: task 'reversal' does not go on"),
    ],
)
def test_what_cannot_be_asked_of_a_task_is_refused_with_the_option(name, words, said, trained, ask):
    root, record = trained(name)
    code, out, err = ask(record, root, *words)
    assert (code, out) == (2, "") and said in err


def test_a_stream_goes_on_by_as_many_steps_and_draws_as_many_as_asked(trained, ask):
    root, record = trained("autocomplete")
    words = ["--prompt", "import ", "--length", "20", "--count", "3"]
    _, out, _ = ask(record, root, *words, "--seed", "1")
    assert out.count("\ngot ") == 3
    assert out == ask(record, root, *words, "--seed", "1")[1] != ask(record, root, *words, "--seed", "2")[1]
    cold = [ask(record, root, *words, "--temperature", "0", "--seed", seed)[1] for seed in "12"]
    assert cold[0] == cold[1]


def test_a_beam_is_searched_where_something_is_written(trained, ask):
    root, record = trained("reversal")
    code, out, err = ask(record, root, "--beam-width", "3", "--index", "0")
    assert (code, err) == (0, "") and out.count("got ") == 1 and "wanted" in out
