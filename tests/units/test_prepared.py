"""Prepared once by one process while others wait, read as it was made, anew for other settings; and never a pickle."""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness import registry
from harness.data import prepared as module
from harness.data import sources
from harness.data.prepared import Content, Prepared, place_of, prepared
from harness.errors import UserError
from harness.tasks.base import SPLITS, Examples, Shape
from harness.tasks.digits import Digits

HARNESS = Path(__file__).parents[2] / "harness"
KEY = {"task": "thing", "size": 3}


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    return tmp_path


def content(wrong: int = 0) -> Content:
    inputs = np.arange(12).reshape(4, 3) % 5 + wrong
    splits = {split: Examples(inputs, inputs[:, 0] % 2, np.full(4, 3)) for split in SPLITS}
    return Content(Shape(steps=3, outputs=2, vocabulary=5), 0.5, splits, {"words": ["a", "b"]})


def made(key: dict = KEY, files: tuple[str, ...] = ()) -> Prepared:
    return prepared(place_of(key, files, Digits), content)


def test_four_processes_that_come_at_once_prepare_once_and_read_the_same(run_python, cache):
    code = """
        import os, sys, time
        sys.path.insert(0, sys.argv[1])
        from test_prepared import KEY, content
        from harness.data.prepared import place_of, prepared
        from harness.tasks.digits import Digits

        def make():
            with open(os.environ["HARNESS_CACHE"] + "/made", "a") as notes:
                notes.write("made\\n")
            time.sleep(0.5)
            return content()

        print("ready", flush=True)
        sys.stdin.readline()
        print(prepared(place_of(KEY, (), Digits), make).split("test").sha256())
    """
    processes = [run_python(code, str(Path(__file__).parent), stdin=-1) for _ in range(4)]
    for process in processes:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60) for process in processes]
    assert {out for out, _ in said} == {content().splits["test"].sha256() + "\n"}, said
    assert (cache / "made").read_text() == "made\n" and not list((cache / "prepared").glob(".*"))


def test_what_fails_is_told_and_leaves_no_folder(cache):
    def stops() -> Content:
        raise UserError("no words")

    for make, what in ((stops, "no words"), (lambda: content(wrong=1), "thing, train split: row 1, column 1: token 5")):
        with pytest.raises(UserError, match=what):
            prepared(place_of(KEY, (), Digits), make)
        assert not [path for path in (cache / "prepared").iterdir() if path.is_dir()]
    assert made().facts == {"words": ["a", "b"]}


def test_what_is_read_is_what_was_made_mapped_and_not_to_be_changed(cache):
    found, whole = made().split("valid"), content()
    assert found.sha256() == whole.splits["valid"].sha256()
    assert (made().shape, made().floor) == (whole.shape, whole.floor)
    for name in ("inputs", "targets", "lengths"):
        read, wrote = getattr(found, name), getattr(whole.splits["valid"], name)
        assert np.array_equal(read, wrote) and read.dtype == wrote.dtype and not read.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        found.inputs[0, 0] = 1


@pytest.mark.parametrize("change", ["setting", "source", "code"])
def test_other_settings_sources_or_code_are_prepared_anew(cache, monkeypatch, change):
    files = ("ptb/ptb.train.txt",)
    assert made(KEY, files).folder == made(KEY, files).folder
    first = made(KEY, files).folder
    if change == "source":
        about = sources.find("ptb")
        other = about.files["ptb.train.txt"].model_copy(update={"sha256": "0" * 64})
        monkeypatch.setattr(sources, "find", lambda name: about.model_copy(update={"files": {"ptb.train.txt": other}}))
    elif change == "code":
        monkeypatch.setattr(module, "_code", lambda task: "other")
    second = made(KEY | {"size": 4} if change == "setting" else KEY, files).folder
    assert first != second and first.is_dir() and second.is_dir()
    of = [json.loads((folder / "facts.json").read_text())["of"] for folder in (first, second)]
    assert [name for name in of[0] if of[0][name] != of[1][name]] == [
        {"setting": "key", "source": "files", "code": "code"}[change]
    ]


# pickles: a file of others that is unpickled runs what its author wrote

READERS = {"torch.load": ("weights_only", "True"), "np.load": ("allow_pickle", "False")}
NEVER = {"pickle", "dill", "cloudpickle", "shelve", "marshal", "joblib", "eval", "exec", "hickle", "cPickle"}


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Yield (name as it is written, call) of each call in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("path", sorted(HARNESS.rglob("*.py")), ids=lambda path: path.relative_to(HARNESS).as_posix())
def test_nothing_that_could_unpickle_does(path: Path):
    for name, call in calls(path):
        options = {word.arg: ast.unparse(word.value) for word in call.keywords}
        for reader, (option, value) in READERS.items():
            assert not name.endswith(reader) or options.get(option) == value, f"{path}:{call.lineno}: {name}"
        first, last = name.partition(".")[0], name.rpartition(".")[2]
        assert first not in NEVER and last not in ("read_pickle", "unsafe_load", "full_load"), f"{path}:{call.lineno}"
        assert name != "yaml.load" or len(call.args) == 2 or "Loader" in options, f"{path}:{call.lineno}"


@pytest.mark.parametrize("save", [np.save, lambda file, trap: np.savez(file, pose=trap, length=trap, label=trap)])
@pytest.mark.parametrize("kind", [registry.members("harness.tasks")[n] for n in ("video", "image-generation", "music")])
def test_a_pickle_in_a_file_of_arrays_is_refused_and_never_opened(tmp_path, save, kind):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    for split in SPLITS:
        folder = tmp_path / "own" / split if kind.plugin_name() == "music" else tmp_path / "own"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{split}.npz").open("wb") as file:
            save(file, np.array([Trap()], dtype=object))
    with pytest.raises(UserError):
        kind(data=str(tmp_path / "own")).prepare()
    assert not (tmp_path / "ran").exists()
    loaded = np.load(next((tmp_path / "own").rglob("*.npz")), allow_pickle=True)
    assert len(loaded) and loaded[next(iter(loaded))] is not None and (tmp_path / "ran").exists()  # it would have run
