"""Every fault of the matrix is held by tests that exist, or says why by none."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

TESTS = Path(__file__).parents[1]
MATRIX: dict[str, dict[str, Any]] = yaml.safe_load((TESTS / "chaos" / "matrix.yaml").read_text())


@cache
def names_in(file: str) -> set[str]:
    return {node.name for node in ast.walk(ast.parse((TESTS / file).read_text())) if isinstance(node, ast.FunctionDef)}


def test_every_row_is_there():
    assert list(MATRIX) == [f"F{number:02}" for number in range(1, 73)]


@pytest.mark.parametrize("row", MATRIX)
def test_what_holds_a_row_exists(row):
    found = MATRIX[row]
    assert set(found) == ({"without"} if "without" in found else {"what", "tests"})
    for test in found.get("tests", ()):
        file, _, name = test.partition("::")
        assert name in names_in(file), test
