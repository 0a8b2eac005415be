"""What the documents say exists, exists: paths, targets, commands, options, links and the lines that they point to."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from harness import registry, spec
from harness.cli import main as cli
from harness.tasks._prepared import PreparedTask

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
FOLDERS = (".", "benchmarks", "cluster", "results/reference")
DOCUMENTS = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.md"))
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
VERBS = typer.main.get_command(cli.app).commands
SERVES_ONE = {"files.py", "sealed.py", "overview.py"}
"""Modules that the tree may leave out: the hands of the store, of the command and of the specification."""
HERE = re.compile(r"/(work|root|home|Users|mnt)/\w")

every_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a document in one language."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)
    return [block for named, block in fenced if named == language]


def tree() -> Iterator[tuple[str, str]]:
    """Yield (path, phrase) for each line of the tree in the README."""
    (block,) = (block for block in blocks(README, "") if "\nharness/" in "\n" + block)
    folders: list[str] = []
    for line in block.splitlines():
        match = re.match(r"( *)(\S+)\s*(.*)", line)
        if match:
            depth = len(match[1]) // 2
            yield "/".join([*folders[:depth], match[2].rstrip("/")]), match[3]
            folders[depth:] = [match[2].rstrip("/")]


def committed() -> list[str]:
    """The files of the last commit and those about to be: work in progress has no place in a document yet."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def commands(path: Path) -> list[list[str]]:
    """The `make` and `harness` commands in a document's shell blocks and in its running text."""
    lines = [line for block in blocks(path, "sh") for line in block.splitlines()]
    lines += re.findall(r"`((?:make|harness|\.venv/bin/harness) [^`\n]+)`", path.read_text())
    found = [shlex.split(line, comments=True) for line in lines if "..." not in line]
    return [words for words in found if words and words[0].rpartition("/")[2] in ("make", "harness")]


def test_the_tree_names_what_exists_with_a_phrase():
    entries = dict(tree())
    assert len(entries) > 20
    for path, phrase in entries.items():
        assert (ROOT / path).exists(), f"README: {path} does not exist"
        assert phrase or (ROOT / path).is_dir(), f"README: say what {path} is for"


def test_the_tree_leaves_no_module_out():
    """By an entry of its own, or in the phrase of the file that it serves."""
    said = " ".join(f"{path} {phrase}" for path, phrase in tree())
    modules = {Path(file).parts[1] for file in committed() if re.match(r"harness/[a-z]\w*(\.py|/\w+\.py)$", file)}
    missing = sorted(name for name in modules - SERVES_ONE if name not in said)
    assert not missing, f"README: the tree does not name {', '.join(missing)}"


@every_document
def test_make_targets_and_verbs_and_options_exist(path):
    for command, *words in commands(path):
        if command == "make":
            assert words[0] in TARGETS, f"{path.name}: make {words[0]}"
            continue
        verb, *rest = words
        if verb.startswith("-"):
            continue
        assert verb in VERBS, f"{path.name}: harness {verb}"
        called = VERBS[verb]
        if rest and (inner := getattr(called, "commands", None)):  # `harness data fetch`
            assert rest[0] in inner, f"{path.name}: harness {verb} {rest[0]}"
            called = inner[rest.pop(0)]
        known = {option for parameter in called.params for option in parameter.opts} | {"--help", "-h"}
        unknown = {word.partition("=")[0] for word in rest if word.startswith("--")} - known
        assert not unknown, f"{path.name}: harness {verb} {' '.join(unknown)}"
        for word in rest:
            assert not word.endswith((".yaml", ".yml")) or (ROOT / word).exists(), f"{path.name}: {word}"


@every_document
def test_commands_in_blocks_parse_as_they_stand(path):
    """With their arguments and values, as whoever copies a line will find; nothing runs."""
    lines = [shlex.split(line, comments=True) for block in blocks(path, "sh") for line in block.splitlines()]
    for _, *words in (words for words in lines if words and words[0].endswith("harness")):
        command = typer.main.get_command(cli.app)
        while inner := getattr(command, "commands", None):
            command = inner[words.pop(0)]
        command.make_context("harness", words)


@every_document
def test_links_resolve(path):
    """Files relative to the document, `#headings` in it, and `file:12` to a line that is there."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = {
        re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        file, _, heading = target.partition("#")
        if not target.startswith(("https://", "http://", "mailto:")):
            assert (path.parent / file).exists() if file else heading in headings, f"{path.name}: {target}"
    for file, line in re.findall(r"([\w./-]+\.(?:py|yaml|md|toml)):(\d+)", text):
        lines = (ROOT / file).read_text().splitlines()
        assert 1 <= int(line) <= len(lines) and lines[int(line) - 1].strip(), f"{path.name}: {file}:{line}"


@every_document
def test_files_that_are_named_exist(path):
    """`harness/x.py` and the like, in backquotes."""
    for file in re.findall(r"`((?:harness|tests|benchmarks|cluster)/[\w./-]*\w)`", path.read_text()):
        assert (ROOT / file).exists(), f"{path.name}: {file}"


@every_document
def test_a_benchmark_in_a_document_is_one(path, tmp_path):
    for number, block in enumerate(blocks(path, "yaml")):
        if re.search(r"^sweep:", block, re.MULTILINE):
            file = tmp_path / f"example-{number}.yaml"
            file.write_text(block)
            assert spec.load(str(file), []).trials


def task_rows() -> dict[str, list[str]]:
    """Task -> cells of its row in the README's table of tasks on real data."""
    lines = re.findall(r"^\| (.* \| `[a-z-]+` \| .*) \|$", README.read_text(), re.MULTILINE)
    rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    return {row[1].strip("`"): row for row in rows if len(row) == 6}


def test_the_table_of_tasks_is_what_is_there():
    """Every task on real data, its mapping and default data set first; no name that does not exist."""
    real = {n: k for n, k in registry.members("harness.tasks").items() if issubclass(k, PreparedTask)}
    rows = task_rows()
    assert rows.keys() == real.keys()
    for name, (_, _, mapping, data, *_) in rows.items():
        named = re.findall(r"`([^`]+)`", data)
        assert named[0] == real[name].model_fields["data"].default and set(named) <= set(real[name].sets), name
        told = getattr(real[name], "mapping", None)
        assert not isinstance(told, str) or told in mapping or mapping == "stream", name


def test_help_lists_every_target():
    out = subprocess.run(["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {line.split()[1] for line in out.stdout.splitlines()} == TARGETS


def test_every_constraint_is_one_exact_version():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!_]+", line) for line in lines)
    assert "torch==2.13.0" in lines and len(lines) > 60


def test_every_dependency_is_argued_in_contributing():
    declared = re.findall(r'^    "([A-Za-z0-9-]+(?:\[[a-z,]+\])?)[><=!]', (ROOT / "pyproject.toml").read_text(), re.M)
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("## Dependencies")[2]
    assert len(declared) > 15
    assert not [name for name in declared if not re.search(rf"[|:*, ]{re.escape(name)}[ ,]", table)]


def test_no_file_names_the_machine_that_it_was_written_on():
    for name in committed():
        path = ROOT / name
        if path.suffix in {".md", ".py", ".toml", ".yaml", ".yml", ".txt", ".css", ".j2", ""} and path.is_file():
            found = HERE.search(path.read_text(errors="replace"))
            assert not found, f"{name}: {found[0] if found else ''}"


STATED = re.findall(r"^\|.*\| `([a-z-]+)` \|.*\| ([\d.]+) \|$", README.read_text(), re.MULTILINE)


@pytest.mark.parametrize(("name", "stated"), [row for row in STATED if row[0] in registry.members("harness.tasks")])
def test_the_readme_states_each_floor_to_the_digits_that_it_prints(name, stated):
    """Where the data are the same on every machine."""
    assert round(registry.build("task", {"name": name}).floor(), len(stated.partition(".")[2])) == float(stated)
