"""Laws of every task's data: right shapes, right splits, the same every time, and a floor that a guess can reach."""

from __future__ import annotations

import json
import math
from functools import cache

import numpy as np
import pytest

from harness import registry
from harness.tasks._prepared import PreparedTask
from harness.tasks.base import END, SPLITS, Examples, Split, Task

NOT_DUE = -100
TASKS = tuple(registry.members("harness.tasks"))
every_task = pytest.mark.parametrize("name", TASKS)


@cache
def task(name: str) -> Task:
    return registry.build("task", {"name": name})


@cache
def data(name: str, split: Split, seed: int = 0) -> Examples:
    return task(name).load(split, seed)


def is_real(name: str) -> bool:
    """Data that was collected, not drawn: no seed can change it."""
    return data(name, "train", 0).sha256() == data(name, "train", 1).sha256()


def rows(examples: Examples) -> list[bytes]:
    return [examples.inputs[i].tobytes() + bytes(examples.lengths[i : i + 1]) for i in range(len(examples))]


def due(name: str, split: Split) -> np.ndarray:
    """Targets in their shape, as floats, NaN where nothing is due."""
    targets = data(name, split).targets
    return np.where(targets == NOT_DUE, np.nan, targets.astype(float)) if targets.dtype.kind in "iu" else targets


def is_prepared(name: str) -> bool:
    return isinstance(task(name), PreparedTask)


# shapes and types


@every_task
@pytest.mark.parametrize("split", SPLITS)
def test_inputs_are_as_declared(name, split):
    examples, shape, stream = data(name, split), task(name).shape, task(name).stream
    n = len(examples)
    assert n >= 1 and bool(shape.features) != bool(shape.vocabulary)
    if shape.features:
        assert examples.inputs.shape[2:] == (shape.features,)
        assert examples.inputs.dtype in ((np.uint8, np.int8) if examples.scale else (np.float32,))
        assert np.isfinite(examples.inputs).all()
    else:
        assert examples.inputs.shape[2:] == ((shape.columns,) if shape.columns > 1 else ())
        assert examples.inputs.dtype.kind in "iu"
        assert 0 <= examples.inputs.min() and examples.inputs.max() < shape.vocabulary
    # of real data the longest example of all splits is what a model is made for
    whole = stream or is_prepared(name) or examples.inputs.shape[1] == shape.steps
    assert examples.inputs.shape[1] <= shape.steps and whole
    assert examples.lengths.shape == (n,) and examples.lengths.dtype.kind in "iu"
    assert 1 <= examples.lengths.min() and examples.lengths.max() <= examples.inputs.shape[1]


@every_task
@pytest.mark.parametrize("split", SPLITS)
def test_targets_are_as_declared(name, split):
    examples, shape = data(name, split), task(name).shape
    leading = {"many-to-many": examples.inputs.shape[:2]}.get(task(name).mapping, (len(examples),))
    if shape.target_steps:
        longest = examples.targets.shape[1] if is_prepared(name) else shape.target_steps
        assert longest <= shape.target_steps
        leading = (len(examples), longest)
    if task(name).objective in ("mse", "binary-cross-entropy"):
        assert examples.targets.shape == (*leading, shape.outputs) and examples.targets.dtype in (np.float32, np.int8)
    else:
        assert examples.targets.shape == leading and examples.targets.dtype.kind == "i"
        known = examples.targets[examples.targets != NOT_DUE]
        assert int(shape.blank) <= known.min() and known.max() < shape.outputs
        assert len(np.unique(known)) > 1, "one answer to everything is no question"


@every_task
@pytest.mark.parametrize("split", SPLITS)
def test_written_targets_are_closed_by_end(name, split):
    if task(name).written:
        targets = data(name, split).targets
        ends = targets == END
        behind = ends.cumsum(1) - ends > 0
        assert (ends.sum(1) == 1).all() and ((targets == NOT_DUE) == behind).all()


@every_task
@pytest.mark.parametrize("split", SPLITS)
def test_nothing_is_due_beyond_the_end_of_an_example(name, split):
    if task(name).mapping == "many-to-many" and not task(name).shape.target_steps:
        examples = data(name, split)
        padding = np.arange(examples.inputs.shape[1]) >= examples.lengths[:, None]
        assert np.isnan(due(name, split)[padding]).all()


@every_task
@pytest.mark.parametrize("split", SPLITS)
def test_every_example_asks_something(name, split):
    wanted = due(name, split)
    assert (~np.isnan(wanted)).reshape(len(wanted), -1).any(1).all()


# splits and seeds


@every_task
def test_the_same_seed_gives_the_same_data(name):
    for split in SPLITS:
        again = registry.build("task", {"name": name}).load(split, 0)
        assert again.sha256() == data(name, split).sha256()


@every_task
def test_validation_and_test_do_not_depend_on_the_seed(name):
    for split in ("valid", "test"):
        assert data(name, split, 7).sha256() == data(name, split, 0).sha256()


def test_hashes_are_the_same_in_another_process(run_python):
    code = """
        import json
        from harness import registry
        from harness.tasks._prepared import PreparedTask
        kinds = registry.members("harness.tasks").items()
        tasks = {name: cls() for name, cls in kinds if not issubclass(cls, PreparedTask)}
        print(json.dumps({name: task.load("test", 5).sha256() for name, task in tasks.items()}))
    """
    for hash_seed in ("1", "2"):
        out, err = run_python(code, env={"PYTHONHASHSEED": hash_seed}).communicate(timeout=180)
        assert json.loads(out) == {name: data(name, "test").sha256() for name in TASKS if not is_prepared(name)}, err


@every_task
def test_the_hash_sees_every_part(name):
    examples = data(name, "test")
    parts = (examples.inputs, examples.targets, examples.lengths)
    for changed in range(3):
        copies = [part.copy() for part in parts]
        copies[changed].reshape(-1)[-1] += 1
        assert Examples(*copies).sha256() != examples.sha256()


@every_task
def test_the_random_state_of_the_process_is_neither_read_nor_moved(name):
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    task(name).load("train", 3)
    assert (np.random.get_state()[1] == before).all()


@every_task
def test_splits_are_different_data(name):
    assert len({data(name, split).sha256() for split in SPLITS}) == 3


@every_task
def test_no_test_example_of_real_data_was_trained_on(name):
    """Drawn data may repeat where few examples exist; collected data must not. Canonical splits of others are as they
    are: what repeats there (short sentences do) is theirs, and every published number has it too."""
    if is_real(name) and not is_prepared(name):
        trained = set(rows(data(name, "train")))
        assert not trained & set(rows(data(name, "test")))
        assert not trained & set(rows(data(name, "valid")))


# the floor


def by_place(name: str) -> list[np.ndarray]:
    """What is due on the test split, by place in the answer: a guess knows where it is. A text has no places."""
    wanted = due(name, "test")
    places = [wanted.reshape(-1)] if task(name).stream or wanted.ndim == 1 else list(wanted.T.reshape(-1, len(wanted)))
    return [place[~np.isnan(place)] for place in places if not np.isnan(place).all()]


def shares(place: np.ndarray) -> np.ndarray:
    return np.unique(place, return_counts=True)[1] / len(place)


def guessed(name: str) -> float:
    """What the best guess scores that ignores the input, fitted to the test split itself: a little too well."""
    metric, places = task(name).metric, by_place(name)
    weight = np.array([len(place) for place in places]) / sum(map(len, places))
    if metric == "sequence_accuracy":
        return shares(np.unique(data(name, "test").targets, axis=0, return_inverse=True)[1].reshape(-1)).max()
    scores = {
        "accuracy": lambda p: shares(p).max(),
        "token_accuracy": lambda p: shares(p).max(),
        "mse": np.var,
        "cross_entropy": lambda p: -(shares(p) @ np.log(shares(p))),
        "bits_per_character": lambda p: -(shares(p) @ np.log2(shares(p))),
    }
    return float(weight @ [scores[metric](place) for place in places])


@every_task
def test_a_guess_that_ignores_the_input_scores_the_floor(name):
    """Within what a fit to a finite split gains. A written answer must also stop, so no guess of single symbols
    reaches the mean of the best at each place: there that is only a bound. Tasks on real data state theirs in tests
    of their own."""
    if is_prepared(name):
        return
    floor, guess = task(name).floor(), guessed(name)
    assert math.isfinite(floor)
    n = len(by_place(name)[0])
    if task(name).metric == "token_accuracy":
        assert 0 < floor <= guess * 1.02
    elif task(name).metric in ("accuracy", "sequence_accuracy"):
        assert abs(floor - guess) < 4 * math.sqrt(guess * (1 - guess) / n) + 1e-9
    else:
        assert floor == pytest.approx(guess, rel=0.1)


@every_task
def test_the_floor_is_the_same_every_time_and_cheap_to_say(name):
    assert registry.build("task", {"name": name}).floor() == task(name).floor()
