"""Data that no model could learn from, or only silently wrong: refused before training, with place and value."""

from __future__ import annotations

from collections.abc import Iterator

from harness.data.batches import due
from harness.errors import Fault, UserError
from harness.late import np
from harness.tasks.base import END, Examples, Mapping, Shape

EACH: Mapping = "many-to-many"
Found = Iterator[tuple[str, str]]
"""(what is wrong, what is allowed)."""


def check_examples(examples: Examples, shape: Shape, name: str, mapping: Mapping | None = None) -> None:
    """Raise UserError if a split is not what `Examples` and its task's `shape` declare: all kinds of faults at once.

    `name` says which split it is, and `mapping` whether an answer is due at each step (None: either will do). Of each
    kind the first place is given and how many there are. Padding is looked at as well, because a model computes it
    before it leaves it out. Values are looked at where the sizes are right.
    """
    faults = list(_sizes(examples, shape, mapping)) or [
        *_lengths(examples),
        *_inputs(examples, shape),
        *_targets(examples, shape),
        *(_beyond if not shape.target_steps else _fits if shape.blank else _endings)(examples),
    ]
    if faults:
        raise UserError(Fault(what, where=name, allowed=allowed) for what, allowed in faults)


def _sizes(examples: Examples, shape: Shape, mapping: Mapping | None) -> Found:
    """Sizes and dtypes of whole arrays."""
    inputs, targets, lengths = examples.inputs, examples.targets, examples.lengths
    tokens = (shape.columns,) if shape.columns > 1 else ()
    if shape.vocabulary and not (inputs.ndim > 1 and inputs.shape[2:] == tokens and _whole(inputs)):
        yield f"inputs are {_size(inputs)}", f"tokens: integers (N, T{''.join(f', {k}' for k in tokens)})"
    if not shape.vocabulary and not (inputs.ndim == 3 and (inputs.dtype.kind == "f" or examples.scale)):
        yield f"inputs are {_size(inputs)}", f"features: floats (N, T, {shape.features}), or bytes with a scale"
    elif not shape.vocabulary and inputs.shape[2] != shape.features:
        yield f"inputs have {inputs.shape[2]} features", f"{shape.features}, as the task declares"
    if not (lengths.ndim == 1 and _whole(lengths)):
        yield f"lengths are {_size(lengths)}", "integers (N,)"
    if inputs.ndim < 2 or not inputs.shape[1]:
        yield f"inputs are {_size(inputs)}", "at least one step"
    elif not _fit(targets, inputs.shape[1], shape, mapping):
        yield f"targets are {_size(targets)}", _forms(inputs.shape[1], shape, mapping)
    if not len(inputs) == len(targets) == len(lengths):
        yield f"{len(inputs)} inputs, {len(targets)} targets and {len(lengths)} lengths", "as many of each"
    elif not len(inputs):
        yield "the split is empty", "at least one example"


def _places(steps: int, mapping: Mapping | None) -> list[tuple[int, ...]]:
    """Sizes of the places where an answer is due in an example of so many steps: one, at its end, or each step."""
    return [place for place, each in (((), False), ((steps,), True)) if mapping is None or each == (mapping == EACH)]


def _fit(targets: np.ndarray, steps: int, shape: Shape, mapping: Mapping | None) -> bool:
    """Whether targets have one of the forms that go with inputs of so many steps."""
    size, places = targets.shape[1:], _places(steps, mapping)
    if targets.dtype.kind == "f" or (targets.dtype == np.int8 and targets.ndim == 3):
        return size in [(*place, shape.outputs) for place in places] and not shape.target_steps
    if not _whole(targets) or targets.ndim not in (1, 2):
        return False
    if shape.target_steps:
        return targets.ndim == 2 and 1 <= targets.shape[1] <= shape.target_steps
    return size in places


def _forms(steps: int, shape: Shape, mapping: Mapping | None) -> str:
    """Say which forms those are."""
    if shape.target_steps:
        return f"integers (N, U), U up to {shape.target_steps}"
    places = _places(steps, mapping)
    whole = " or ".join(f"({', '.join(map(str, ('N', *place)))}{'' if place else ','})" for place in places)
    values = " or ".join(f"({', '.join(map(str, ('N', *place, shape.outputs)))})" for place in places)
    return f"integers {whole}; floats {values}" + (f", as {mapping} has them" if mapping else "")


def _whole(array: np.ndarray) -> bool:
    """Whether these are integers, in any number of bytes."""
    return array.dtype.kind in "iu"


def _lengths(examples: Examples) -> Found:
    lengths, steps = examples.lengths, examples.inputs.shape[1]
    yield from _first("length", lengths, (lengths < 1) | (lengths > steps), f"1 to {steps} steps")


def _inputs(examples: Examples, shape: Shape) -> Found:
    inputs = examples.inputs
    if shape.vocabulary:
        yield from _first("token", inputs, (inputs < 0) | (inputs >= shape.vocabulary), f"0 to {shape.vocabulary - 1}")
    else:
        yield from _first("input", inputs, ~np.isfinite(inputs), "a finite number")


def _targets(examples: Examples, shape: Shape) -> Found:
    targets = examples.targets
    if targets.dtype.kind == "f":
        yield from _first("target", targets, np.isinf(targets), "a finite number, or NaN where nothing is due")
    elif targets.ndim == 3:
        wrong = (targets != 0) & (targets != 1)
        yield from _first("target", targets, wrong & due(targets), "0 or 1, or -100 where nothing is due")
    else:
        least, most = int(shape.blank), shape.outputs - 1
        wrong = (targets < least) | (targets > most)
        yield from _first("target", targets, wrong & due(targets), f"{least} to {most}, or -100 where nothing is due")
    none = np.asarray(~due(targets).reshape(len(targets), -1).any(1))
    if none.any():
        rows = f"row {none.argmax()}" if not none.all() else "every row"
        yield f"{rows}: no target is due{_more(none)}", "at least one target that is due in each row"


def _beyond(examples: Examples) -> Found:
    """A target at each step stands at a step that is real."""
    targets, lengths = examples.targets, examples.lengths
    if (targets.ndim == 3 or (targets.ndim == 2 and targets.dtype.kind != "f")) and lengths.min() < targets.shape[1]:
        beyond = np.arange(targets.shape[1]) >= lengths[:, None]
        wrong = due(targets) & (beyond if targets.ndim == 2 else beyond[:, :, None])
        yield from _first("target", targets, wrong, "nothing due beyond a row's length")


def _fits(examples: Examples) -> Found:
    """CTC needs a step for each symbol, and one more between two that are equal, for the blank that parts them."""
    targets, lengths = examples.targets, examples.lengths
    named = due(targets)
    gaps = ~named[:, :-1] & named[:, 1:]
    yield from _first("target", targets[:, :-1], gaps, "symbols up to the end of a row, then -100")
    need = named.sum(1) + ((targets[:, 1:] == targets[:, :-1]) & named[:, 1:]).sum(1)
    short = need > lengths
    if short.any():
        row = int(short.argmax())
        what = f"row {row}: {lengths[row]} steps for {named[row].sum()} symbols, which need {need[row]}{_more(short)}"
        yield what, "at least a step for each symbol, and one more between two that are equal"


def _endings(examples: Examples) -> Found:
    """A target with steps of its own is closed by END, once, with nothing due after it."""
    targets = examples.targets
    ended = (targets == END).cumsum(1)
    after = due(targets) & (ended - (targets == END) > 0)
    yield from _first("target", targets, after, f"nothing due after class {END}, which ends a row")
    gaps = ~due(targets) & (ended == 0)
    yield from _first("target", targets, gaps, f"classes up to the end of a row, which is class {END}")
    if targets.shape[1]:
        open_ = (ended[:, -1] == 0) & ~gaps.any(1)
        yield from _first(
            "target", targets[:, -1], open_, f"class {END}, which ends a row", column=targets.shape[1] - 1
        )


def _first(what: str, array: np.ndarray, wrong: np.ndarray, allowed: str, column: int | None = None) -> Found:
    """Describe the first of the places where something is wrong."""
    if wrong.any():
        place = np.unravel_index(wrong.argmax(), wrong.shape)
        names = ["row", "column", "feature"]
        where = [*map(int, place), *([] if column is None else [column])]
        at = ", ".join(f"{name} {index}" for name, index in zip(names, where, strict=False))
        yield f"{at}: {what} {array[place]}{_more(wrong)}", allowed


def _more(wrong: np.ndarray) -> str:
    count = int(wrong.sum())
    return f" (and {count - 1:,} more like it)" if count > 1 else ""


def _size(array: np.ndarray) -> str:
    return f"{array.dtype} of size {array.shape}"
