"""Data is refused before training with split, row, column, value and what is allowed; good data is let through."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness import registry
from harness.data.check import check_examples
from harness.errors import UserError
from harness.tasks.base import SPLITS, Examples, Shape, Task

TOKENS = Shape(steps=4, outputs=3, vocabulary=5)
FEATURES = Shape(steps=4, outputs=2, features=2)
WRITTEN = Shape(steps=4, outputs=3, vocabulary=5, target_steps=4)


def tagged() -> Examples:
    """Three token sequences of at most 4 steps, a class due at each real step."""
    lengths = np.array([4, 2, 3])
    targets = np.where(np.arange(4) < lengths[:, None], np.arange(4) % 3, -100)
    return Examples(np.arange(12).reshape(3, 4) % 5, targets, lengths)


def measured() -> Examples:
    """Three feature sequences, two values due for each."""
    rng = np.random.default_rng(0)
    return Examples(rng.random((3, 4, 2), np.float32), rng.random((3, 2), np.float32), np.array([4, 1, 3]))


def written() -> Examples:
    """Three token sequences, with answers of 4, 1 and 2 steps."""
    targets = np.array([[1, 2, 1, 0], [0, -100, -100, -100], [2, 0, -100, -100]])
    return Examples(tagged().inputs, targets, tagged().lengths)


def spoken() -> Examples:
    """Three feature sequences of 4, 1 and 3 steps that say 2, 1 and 2 symbols, for CTC."""
    return Examples(measured().inputs, np.array([[1, 2], [1, -100], [2, 2]]), measured().lengths)


GOOD = {"tagged": (tagged, TOKENS), "measured": (measured, FEATURES), "written": (written, WRITTEN)}
GOOD |= {"spoken": (spoken, Shape(steps=4, outputs=3, features=2, target_steps=2, blank=True))}


def altered(name: str, field: str, place: Any, value: Any) -> UserError:
    """Return the refusal of good data with one thing changed."""
    make, shape = GOOD[name]
    examples = make()
    getattr(examples, field)[place] = value
    with pytest.raises(UserError) as caught:
        check_examples(examples, shape, "task 'mine', valid split")
    return caught.value


@pytest.mark.parametrize("name", GOOD)
def test_good_data_is_let_through(name: str) -> None:
    make, shape = GOOD[name]
    check_examples(make(), shape, "train")


@pytest.mark.parametrize("name", registry.members("harness.tasks"))
def test_every_task_of_the_registry_makes_good_data(name: str) -> None:
    task: Any = registry.build("task", {"name": name})
    assert isinstance(task, Task)
    for split in SPLITS:
        check_examples(task.load(split, 0), task.shape, split, task.mapping)


@pytest.mark.parametrize(
    ("name", "field", "place", "value", "what", "allowed"),
    [
        ("tagged", "inputs", (1, 3), 5, "row 1, column 3: token 5", "0 to 4"),
        ("tagged", "inputs", (2, 0), -1, "row 2, column 0: token -1", "0 to 4"),
        ("measured", "inputs", (2, 1, 0), np.nan, "row 2, column 1, feature 0: input nan", "a finite number"),
        ("measured", "inputs", (0, 3, 1), -np.inf, "row 0, column 3, feature 1: input -inf", "a finite number"),
        ("tagged", "lengths", 1, 0, "row 1: length 0", "1 to 4 steps"),
        ("tagged", "lengths", 1, 5, "row 1: length 5", "1 to 4 steps"),
        ("tagged", "targets", (0, 2), 3, "row 0, column 2: target 3", "0 to 2, or -100 where nothing is due"),
        ("tagged", "targets", (0, 2), -1, "row 0, column 2: target -1", "0 to 2, or -100 where nothing is due"),
        ("tagged", "targets", (1, 2), 1, "row 1, column 2: target 1", "nothing due beyond a row's length"),
        ("tagged", "targets", 1, -100, "row 1: no target is due", "at least one target that is due in each row"),
        ("tagged", "targets", slice(None), -100, "every row: no target is due (and 2 more like it)", "at least one"),
        ("measured", "targets", (1, 1), np.inf, "row 1, column 1: target inf", "a finite number, or NaN where"),
        ("measured", "targets", 2, np.nan, "row 2: no target is due", "at least one target that is due in each row"),
        ("written", "targets", (2, 2), 1, "row 2, column 2: target 1", "nothing due after class 0, which ends a row"),
        ("written", "targets", (0, 3), 2, "row 0, column 3: target 2", "class 0, which ends a row"),
        ("written", "targets", (2, 1), -100, "row 2, column 1: target -100", "classes up to the end of a row"),
        ("spoken", "lengths", 2, 2, "row 2: 2 steps for 2 symbols, which need 3", "at least a step for each symbol"),
        ("spoken", "lengths", 0, 1, "row 0: 1 steps for 2 symbols, which need 2", "at least a step for each symbol"),
        ("spoken", "targets", (0, 0), 0, "row 0, column 0: target 0", "1 to 2, or -100 where nothing is due"),
        ("spoken", "targets", (0, 0), -100, "row 0, column 0: target -100", "symbols up to the end of a row"),
        ("spoken", "targets", 1, -100, "row 1: no target is due", "at least one target that is due in each row"),
    ],
)
def test_a_wrong_value_is_named_with_its_place_and_what_is_allowed(name, field, place, value, what, allowed) -> None:
    fault = altered(name, field, place, value).faults[0]
    assert fault.where == "task 'mine', valid split"
    assert fault.what == what or fault.what.startswith(f"{what} (and ")
    assert fault.allowed.startswith(allowed)


@pytest.mark.parametrize(
    ("name", "change", "what", "allowed"),
    [
        ("tagged", {"inputs": tagged().inputs.astype(float)}, "inputs are float64 of size (3, 4)", "tokens: integers"),
        ("tagged", {"inputs": tagged().inputs[:, :, None]}, "inputs are int64 of size (3, 4, 1)", "tokens: integers"),
        ("measured", {"inputs": measured().inputs[:, :, 0]}, "inputs are float32 of size (3, 4)", "features: floats"),
        ("measured", {"inputs": np.ones((3, 4, 3), np.float32)}, "inputs have 3 features", "2, as the task declares"),
        ("tagged", {"lengths": np.ones(3)}, "lengths are float64 of size (3,)", "integers (N,)"),
        ("tagged", {"targets": np.zeros((3, 3), int)}, "targets are int64 of size (3, 3)", "integers (N,) or (N, 4)"),
        ("measured", {"targets": np.ones((3, 3))}, "targets are float64 of size (3, 3)", "integers (N,) or (N, 4)"),
        ("written", {"targets": np.zeros((3, 5), int)}, "targets are int64 of size (3, 5)", "integers (N, U), U up to"),
        ("tagged", {"lengths": np.array([4, 2])}, "3 inputs, 3 targets and 2 lengths", "as many of each"),
        ("tagged", {"inputs": np.zeros((3, 0), int)}, "inputs are int64 of size (3, 0)", "at least one step"),
    ],
)  # fmt: skip
def test_a_wrong_size_or_type_is_named(name: str, change: dict[str, np.ndarray], what: str, allowed: str) -> None:
    make, shape = GOOD[name]
    good = make()
    arrays = {"inputs": good.inputs, "targets": good.targets, "lengths": good.lengths} | change
    with pytest.raises(UserError) as caught:
        check_examples(Examples(**arrays), shape, "train")
    assert caught.value.faults[0].what == what
    assert caught.value.faults[0].allowed.startswith(allowed)


@pytest.mark.parametrize(
    ("name", "mapping", "size", "allowed"),
    [
        ("tagged", "many-to-one", "int64 of size (3, 4)", "integers (N,); floats (N, 3), as many-to-one has them"),
        ("measured", "many-to-many", "float64 of size (3, 2)", "integers (N, 4); floats (N, 4, 2), as many-to-many"),
    ],
)
def test_labels_of_steps_and_of_sequences_are_not_taken_for_each_other(name, mapping, size, allowed) -> None:
    make, shape = GOOD[name]
    with pytest.raises(UserError) as caught:
        check_examples(make(), shape, "train", mapping)
    assert caught.value.faults[0].what.replace("float32", "float64") == f"targets are {size}"
    assert caught.value.faults[0].allowed.startswith(allowed)
    check_examples(make(), shape, "train", {"tagged": "many-to-many", "measured": "many-to-one"}[name])


def test_an_empty_split_is_refused() -> None:
    good = tagged()
    with pytest.raises(UserError, match="the split is empty"):
        check_examples(Examples(good.inputs[:0], good.targets[:0], good.lengths[:0]), TOKENS, "test split")


def test_all_kinds_of_faults_are_named_at_once_each_with_its_number() -> None:
    examples = tagged()
    examples.inputs[:, 1] = 99
    examples.lengths[0] = 9
    examples.targets[2, :2] = 7
    with pytest.raises(UserError) as caught:
        check_examples(examples, TOKENS, "train split")
    assert [fault.what for fault in caught.value.faults] == [
        "row 0: length 9",
        "row 0, column 1: token 99 (and 2 more like it)",
        "row 2, column 0: target 7 (and 1 more like it)",
    ]
