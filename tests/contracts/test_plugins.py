"""Laws of whatever is plugged in by existing: each cell and each task, found by the registry, with no edit here."""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import re
import shutil
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import ValidationError

import harness
from harness import registry
from harness.errors import UserError
from harness.metrics import METRICS
from harness.registry import Plugin

ROOT = Path(__file__).parents[2]
PACKAGE = Path(harness.__file__).parent
CITED = re.compile(r"arXiv:\d{4}\.\d{4,5}|\b(1[89]|20)\d\d\b")
EVERY = [(kind, name) for kind in ("cell", "task") for name in registry.members(f"harness.{kind}s")]

every_plugin = pytest.mark.parametrize(("kind", "name"), EVERY, ids=["-".join(pair) for pair in EVERY])
every_cell = pytest.mark.parametrize("name", registry.members("harness.cells"))


def class_of(kind: str, name: str) -> type[Plugin]:
    return registry.members(f"harness.{kind}s")[name]


def variations(plugin: type[Plugin]) -> list[dict[str, Any]]:
    """Every combination of the settings that are one of a few; {} where there is none."""
    choices = {
        key: get_args(field.annotation) if get_origin(field.annotation) is Literal else (True, False)
        for key, field in plugin.model_fields.items()
        if get_origin(field.annotation) is Literal or field.annotation is bool
    }
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


def test_something_is_plugged_in():
    assert len(registry.members("harness.cells")) >= 4 and len(registry.members("harness.tasks")) >= 2


@every_plugin
def test_a_file_is_one_class_named_by_the_file(kind, name):
    plugin = class_of(kind, name)
    source = Path(inspect.getfile(plugin))
    classes = [node.name for node in ast.parse(source.read_text()).body if isinstance(node, ast.ClassDef)]
    assert classes == [plugin.__name__]
    assert source == PACKAGE / f"{kind}s" / f"{name.replace('-', '_')}.py"
    assert plugin.__name__.lower() == name.replace("-", ""), "the class is named like its file, in CamelCase"


@every_plugin
def test_nothing_abstract_is_left(kind, name):
    assert not inspect.isabstract(class_of(kind, name))


@every_plugin
def test_the_docstring_starts_with_a_summary_that_fits_a_line_of_the_list(kind, name):
    summary = class_of(kind, name).summary()
    assert 20 <= len(summary) <= 118 and summary == summary.strip()
    assert re.match(r"[A-Z0-9]", summary), "a summary starts like a sentence"


@every_plugin
def test_the_docstring_cites_where_it_comes_from(kind, name):
    plugin = class_of(kind, name)
    if kind == "cell" and not plugin().states:
        return  # the contrast carries nothing, and is nobody's invention
    assert CITED.search(f"{plugin.__doc__} {getattr(plugin, 'paper', '')}"), "name the paper, with its year or arXiv id"


@every_plugin
def test_plain_and_back_is_equal_for_every_variation(kind, name):
    plugin = class_of(kind, name)
    for settings in variations(plugin):
        built = plugin(**settings)
        plain = built.plain()
        assert plain["name"] == name and settings.items() <= plain.items()
        assert registry.build(kind, json.loads(json.dumps(plain))) == built
        assert registry.build(kind, {"name": name} | settings) == built


@every_plugin
def test_every_setting_has_a_default(kind, name):
    """So that a benchmark may give the name alone."""
    assert not [key for key, field in class_of(kind, name).model_fields.items() if field.is_required()]


@every_plugin
@pytest.mark.parametrize("key", ["colour", "hidden_sizes", "name2", ""])
def test_an_unknown_setting_is_refused_by_its_name(kind, name, key):
    with pytest.raises(ValidationError) as caught:
        registry.build(kind, {"name": name, key: 1})
    (fault,) = caught.value.errors()
    assert (fault["type"], fault["loc"]) == ("extra_forbidden", (key,))


@every_plugin
def test_text_is_not_taken_for_a_number(kind, name):
    plugin = class_of(kind, name)
    for key, field in plugin.model_fields.items():
        if field.annotation in (int, float):
            with pytest.raises(ValidationError):
                plugin(**{key: "12"})
            with pytest.raises(ValidationError):
                plugin(**{key: float("nan")})


@every_plugin
def test_settings_are_frozen(kind, name):
    built = class_of(kind, name)()
    with pytest.raises((ValidationError, AttributeError)):
        setattr(built, next(iter(type(built).model_fields), "colour"), 1)


@pytest.mark.parametrize("kind", ["cell", "task"])
def test_an_unknown_name_gets_the_nearest_one(kind):
    for name in registry.members(f"harness.{kind}s"):
        with pytest.raises(UserError, match=f"unknown {kind} .*") as caught:
            registry.lookup(kind, name + "x")
        assert f"did you mean '{name}'?" in str(caught.value) and caught.value.exit_code == 2
    for odd in (None, 3, "", [], "../../x", "base", "__init__"):
        with pytest.raises(UserError, match="unknown"):
            registry.lookup(kind, odd)


# cells


@every_cell
def test_weights_are_shapes_and_states_are_names(name):
    for settings in variations(class_of("cell", name)):
        cell: Any = registry.build("cell", {"name": name} | settings)
        assert isinstance(cell.gates, int) and cell.gates >= 1
        assert isinstance(cell.states, tuple) and len(set(cell.states)) == len(cell.states)
        assert all(state.isidentifier() for state in cell.states)
        for hidden in (1, 2, 7, 64):
            shapes = cell.weights(hidden)
            assert not {"weight_ih", "bias_ih"} & shapes.keys(), "the input projection is always there"
            assert all(key.isidentifier() for key in shapes)
            assert all(size >= 1 and isinstance(size, int) for shape in shapes.values() for size in shape)
            assert all(1 <= len(shape) <= 2 for shape in shapes.values())


@every_cell
def test_a_loop_can_always_unroll_a_cell(name):
    for settings in variations(class_of("cell", name)):
        cell: Any = registry.build("cell", {"name": name} | settings)
        assert "loop" in cell.kernels and set(cell.kernels) <= {"fused", "scan", "loop"}
        assert ("fused" in cell.kernels) == (cell.fused is not None)


# plugging in


def examples() -> dict[str, str]:
    """The Python blocks of CONTRIBUTING.md by the path in their first line: `# harness/cells/x.py`."""
    blocks = re.findall(r"```python\n# (harness/\S+\.py)\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    return dict(blocks)


RUN = """
    import json, sys
    from harness import registry
    from harness.engine import run_trial
    from harness.trial import Trial
    cell, task = sys.argv[1:]
    assert cell in registry.members("harness.cells") and task in registry.members("harness.tasks")
    trial = Trial(task=registry.lookup("task", task)().plain(), cell=registry.lookup("cell", cell)().plain(),
                  hidden_size=8, examples=128, batch_size=32, evaluations=1)
    record = run_trial(trial)
    print(json.dumps([registry.__file__, record.cell, record.task, record.status, record.reason, record.updates]))
"""


def test_the_examples_of_contributing_run_as_one_new_file_each(tmp_path, run_python):
    """In a copy of the package: one file for the cell, one for the task, nothing else is touched."""
    shutil.copytree(PACKAGE, tmp_path / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    new = examples()
    assert {Path(path).parent.name for path in new} == {"cells", "tasks"}
    for path, code in new.items():
        assert len(code.splitlines()) <= 40
        (tmp_path / path).write_text(code)
    cell, task = (Path(path).stem.replace("_", "-") for path in sorted(new))
    process = run_python(RUN, cell, task, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)})
    out, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    where, *rest = json.loads(out.splitlines()[-1])
    assert Path(where).is_relative_to(tmp_path), "the copy ran, not the installed package"
    assert rest == [cell, task, "ok", "", 4]


@pytest.mark.slow
def test_the_examples_of_contributing_keep_every_law(tmp_path, run_python):
    """The contract tests, in a copy of the project, find the two new files by themselves."""
    for part in ("harness", "tests"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("CONTRIBUTING.md", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    new = examples()
    for path, code in new.items():
        (tmp_path / path).write_text(code)
    names = " or ".join(Path(path).stem.replace("_", "-") for path in new)
    code = f"import pytest, sys; sys.exit(pytest.main(['tests/contracts', '-q', '-k', '{names}']))"
    process = run_python(code, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)})
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    assert int(re.search(r"(\d+) passed", out)[1]) > 30


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("", "has none"),
        ("from harness.cells.base import Cell\nclass A(Cell): ...\nclass B(Cell): ...", r"has \['A', 'B'\]"),
        ("from harness.cells.{0} import {1}", "has none"),
    ],
)
def test_a_file_that_is_not_one_plugin_says_so(tmp_path, run_python, code, says):
    """Also one that merely imports another's class: a name has one home."""
    shutil.copytree(PACKAGE, tmp_path / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    name, other = next(iter(registry.members("harness.cells").items()))
    (tmp_path / "harness" / "cells" / "broken.py").write_text(code.format(name.replace("-", "_"), other.__name__))
    code = "from harness import registry; registry.members('harness.cells')['broken']"
    process = run_python(code, cwd=tmp_path, env={"PYTHONPATH": "."})
    _, err = process.communicate(timeout=60)
    assert re.search(rf"AssertionError: harness.cells.broken must define exactly one plug-in class, {says}", err)


def test_every_task_is_scored_by_a_known_metric():
    assert {plugin().metric for plugin in registry.members("harness.tasks").values()} <= METRICS.keys()
