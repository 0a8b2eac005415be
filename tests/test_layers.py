"""The law of layout: imports point down, light stays light, files stay short, no generic file names a variant."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import registry

ROOT = Path(__file__).parents[1]
LEVELS = {
    0: "errors registry late redact stop machine metrics trial record spent stability config storage stats search "
    "claims references",
    1: "cells tasks data cost match draft spec",  # what is held equal is counted from the weights' shapes
    2: "models",
    3: "training probes tracking",  # a probe watches the module, and the module knows no probe
    4: "engine pack",
    5: "launch",
    6: "report compare dashboards",
    7: "jobs plan cli __main__",
}
"""Top modules and packages of harness/ by level; each imports from its own level and lower numbers only."""
LEVEL = {name: level for level, names in LEVELS.items() for name in names.split()}
HEAVY = {"torch", "ray", "pytorch_lightning", "lightning", "wandb"}
REPORT_READS = {0, 6}
"""A laptop without torch or Ray reads results."""
TAKEN = {"lightning", "ray", "wandb", "types"}
LONG: dict[str, str] = {}
"""Files that may be longer than the rest, and why."""
MOST_LINES, MOST_BODY = 250, 40
MOST_TEST_LINES = 375
"""Half as much again: the laws of one thing are read as one list."""
LONG_FUNCTIONS = {"harness/report/columns.py:columns": "the columns of the table, one after another"}
NAMES_A_VARIANT = {
    "harness/cost.py": "its keys are the names of torch's fused kernels, as a cell's `fused` gives them",
    "harness/training/limits.py": "times a layer of torch's own, the quickest way to take a step",
    "harness/models/kernel.py": "recognises torch's own operations by their names",
    "harness/pack/gains.py": "names torch's fused kernels that no pack has a quicker loop for",
    "harness/pack/kernels.py": "its keys are the names of torch's fused kernels, as in cost.py",
    "harness/pack/on_chip_gated.py": "one program for each of those",
    "harness/pack/on_gpu.py": "its keys are the same",
}

MODULES = sorted((ROOT / "harness").rglob("*.py"))
TEXTS = [path for path in sorted((ROOT / "harness").rglob("*")) if path.suffix in {".j2", ".css", ".js", ".html"}]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=name(path))


def is_for_types(node: ast.AST) -> bool:
    """`if TYPE_CHECKING:` never runs, so it may look upwards."""
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def imports(path: Path, inside_functions: bool = True) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of everything that a file imports when it runs."""
    todo: list[ast.AST] = [tree(path)]
    while todo:
        node = todo.pop()
        if is_for_types(node):
            todo += node.orelse
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name(path)}:{node.lineno}: import by full name"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        elif inside_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            todo += ast.iter_child_nodes(node)


def top(path: Path) -> str:
    """The module or package of harness/ that a file belongs to; "" for harness/__init__.py."""
    first = path.relative_to(ROOT / "harness").parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_imports_point_down(path):
    own = top(path)
    assert not own or own in LEVEL, f"{name(path)}: give `{own}` a level here and in the design"
    for line, imported in imports(path):
        parts = imported.split(".")
        if parts[0] != "harness" or parts[1] not in LEVEL:  # `from harness import __version__`
            continue
        level, below = LEVEL.get(own, 0), LEVEL[parts[1]]
        assert below <= level, f"{name(path)}:{line}: level {level} imports {imported} of level {below}"
        if own == "report":
            assert below in REPORT_READS, f"{name(path)}:{line}: report reads level 0 only, not {imported}"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_light_modules_import_nothing_heavy(path):
    """Level 0 and report at no time; cells, tasks, cost and what a command imports first not when imported."""
    own = top(path)
    level = LEVEL.get(own, 0)
    never = level == 0 or own == "report"
    if never or own in {"cells", "tasks", "cost", "compare"} or level == 7:
        for line, imported in imports(path, inside_functions=never):
            assert imported.split(".")[0] not in HEAVY, f"{name(path)}:{line}: imports {imported}"


def test_the_light_half_really_is_light(run_python):
    """What the source says, asked of the interpreter: nothing heavy comes in through a third party either."""
    tops = {m for m in LEVEL if LEVEL[m] in (0, 7) or m in ("cost", "compare", "report")} - {
        "__main__"
    }  # it runs the command
    light = [
        ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for p in MODULES if top(p) in tops
    ]
    assert len(light) > 100
    code = f"""
        import importlib, sys
        from harness import registry
        for module in {light}:
            importlib.import_module(module)
        list(registry.members("harness.cells").values()), list(registry.members("harness.tasks").values())
        print(sorted({HEAVY | {"pyarrow", "sklearn", "pandas", "matplotlib"}} & set(sys.modules)))
    """
    out, err = run_python(code).communicate(timeout=120)
    assert out.strip() == "[]", err


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_module_is_named_like_a_library(path):
    assert not TAKEN & {*path.relative_to(ROOT / "harness").parent.parts, path.stem}
    assert path.stem == "__init__" or not path.stem.startswith("test_")


def test_no_top_module_hides_the_standard_library():
    assert not {path.name for path in ROOT.glob("*.py")} & {f"{module}.py" for module in sys.stdlib_module_names}


ALL = [*MODULES, *sorted((ROOT / "tests").rglob("*.py"))]


@pytest.mark.parametrize("path", ALL, ids=name)
def test_files_are_short(path):
    lines = len(path.read_text().splitlines())
    most = MOST_TEST_LINES if name(path).startswith("tests/") else MOST_LINES
    if name(path) in LONG:
        assert lines > most, f"{name(path)} has {lines} lines: take it off the list"
    else:
        assert lines <= most, f"{name(path)} has {lines} lines, more than {most}: part it, or argue in LONG"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_functions_are_short(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            lines = (node.end_lineno or 0) - first.lineno + 1
            allowed = f"{name(path)}:{node.name}" in LONG_FUNCTIONS
            assert lines <= MOST_BODY or allowed, f"{name(path)}:{node.lineno}: {node.name} has {lines} lines"


def words(path: Path) -> Iterator[tuple[int, str]]:
    """Yield every identifier and every text of a file that is not documentation, with its line."""
    nodes = list(ast.walk(tree(path)))
    documentation = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        text = ""
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            text = node.value
        elif isinstance(node, ast.Name | ast.Attribute):
            text = node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            text = node.name
        elif isinstance(node, ast.alias):
            text = node.name.rpartition(".")[2]
        if text:
            yield getattr(node, "lineno", 0), text


def variant_pattern() -> re.Pattern[str]:
    """A cell's name as a word anywhere; a task's (`adding` is English too) as the whole text or in quotes."""
    cells, tasks = (
        "|".join(s for n in registry.members(f"harness.{kind}") for s in {n, n.replace("-", "_"), n.replace("-", "")})
        for kind in ("cells", "tasks")
    )
    return re.compile(rf"(?<![A-Za-z])({cells})(?![A-Za-z])|(^|['\"`])({tasks})($|['\"`])", re.IGNORECASE)


def test_no_generic_file_names_a_variant():
    """One variant is one file: whoever adds a cell or a task edits nothing else, so nothing else may know its name."""
    pattern = variant_pattern()
    found = {(p, line, text) for p in MODULES if top(p) not in {"cells", "tasks"} for line, text in words(p)}
    found |= {(p, line, text) for p in TEXTS for line, text in enumerate(p.read_text().splitlines(), 1)}
    found = {(name(path), line, text) for path, line, text in found if pattern.search(text)}
    bad = [f"{file}:{line}: {text}" for file, line, text in sorted(found) if file not in NAMES_A_VARIANT]
    assert not bad, "\n".join(bad)
    assert {file for file, _, _ in found} == NAMES_A_VARIANT.keys(), "an exception is no longer needed"


def test_no_cell_or_task_names_another():
    """A shared part is a base, or a file whose name starts with `_` and plugs nothing in; never a sibling."""
    for kind in ("cells", "tasks"):
        for path in (ROOT / "harness" / kind).glob("[!_]*.py"):
            siblings = {f"harness.{kind}.{p.stem}" for p in path.parent.glob("[!_]*.py")} - {f"harness.{kind}.base"}
            for line, imported in imports(path):
                package, _, _ = imported.rpartition(".")
                assert not {imported, package} & siblings, f"{name(path)}:{line}: imports its sibling {imported}"


def test_no_two_test_files_share_a_name():
    """Without packages pytest imports them by name alone, and gives up on the whole suite."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert not {name for name in names if names.count(name) > 1}
