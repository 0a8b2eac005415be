"""The `claims` of a benchmark file: each a sentence with a sweep of its own and checks on what it measures.

claims:
  - claim: A plain RNN forgets where an LSTM remembers.
    source: Bengio et al. 1994
    seeds: 10                       # instead of the file's
    set: {examples: 10000}          # over the file's `set`
    sweep: {task: adding, cell: [elman, lstm]}
    checks:
      - {measure: score, better: {cell: lstm}, than: {cell: elman}}
      - {measure: activation_bytes, linear_in: bptt_length, where: {cell: lstm}}

Selectors are compared with the normalised trials: what cannot matter to a variant has its neutral value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.claims import FEWEST_POINTS, Compare, Linear
from harness.claims.measures import MEASURES, is_number, matches, setting
from harness.config.grid import PLUGINS, SETTINGS, Key, Reader
from harness.config.wording import shown
from harness.metrics import METRICS
from harness.trial import Trial

KEYS = ("claim", "source", "seeds", "set", "sweep", "checks")
RELATIONS = ("greater", "less", "better")
COMPARE_KEYS, LINEAR_KEYS = ("measure", *RELATIONS, "than", "times"), ("measure", "linear_in", "where")
EXAMPLES = "{greater: {cell: a}, than: {cell: b}}, or less, or better; or {linear_in: a setting, where: {cell: a}}"
NEUTRAL = "a window as long as the sequence, and that of a cell without state, is null"

Plain = dict[str, Any]


def text(part: dict[str, Any], name: str, reader: Reader, key: Key) -> str:
    """Return a sentence on one line; a fault and "" where it is none."""
    value = part.get(name)
    words = " ".join(value.split()) if isinstance(value, str) else ""
    if not words or len(words) > 500 or not words.isprintable():
        what = f"got {shown(value)}" if name in part else f"no {name}"
        reader.refuse(what, (*key, name), "a sentence of up to 500 printable characters")
    return words


def checks(
    part: dict[str, Any], trials: Sequence[Trial] | None, reader: Reader, key: Key
) -> tuple[Compare | Linear, ...]:
    """Return the checks of a claim; each selector must pick out trials of the claim. None: the sweep is at fault, and
    all else is looked at."""
    found: list[Compare | Linear | None] = []
    if "checks" not in part:
        reader.refuse("no checks", (*key, "checks"), "a list of checks: what is measured, and what is claimed of it")
        return ()
    for value, where in reader.each(part["checks"], (*key, "checks")):
        check = reader.mapping(value, where, "a check: a measure and what is claimed of it")
        if not check:
            continue
        allowed = LINEAR_KEYS if "linear_in" in check else COMPARE_KEYS
        for name in check:
            if name not in allowed:
                reader.unknown("key", name, (*where, name), allowed)
        read = _linear if "linear_in" in check else _compare
        if _measure(check, reader, where):
            found.append(read(check, trials, reader, where))
    return tuple(check for check in found if check)


def _measure(check: Plain, reader: Reader, where: Key) -> bool:
    """Note a measure that is none; a task's metric is asked for as its score."""
    name, at = check.get("measure"), (*where, "measure")
    if isinstance(name, str) and name in MEASURES:
        return True
    if name is None:
        reader.refuse("no measure", at, ", ".join(MEASURES))
    elif isinstance(name, str) and name in METRICS:
        reader.refuse(f"{name} is the score of a task", at, ", ".join(MEASURES), "measure: score")
    else:
        reader.unknown("measure", name, at, MEASURES)
    return False


def _linear(check: Plain, trials: Sequence[Trial] | None, reader: Reader, where: Key) -> Linear | None:
    chosen, name = check.get("where", {}), check["linear_in"]
    picked = _picked(chosen, trials, reader, (*where, "where"))
    if not _is_setting(name, trials, reader, (*where, "linear_in")) or trials is None:
        return None
    points = [value for trial in picked if is_number(value := setting(trial, name))]
    if picked and len(set(points)) < FEWEST_POINTS:
        what = f"{name} has {len(set(points))} of the {FEWEST_POINTS} numbers or more that show a line"
        values = ", ".join(shown(value) for value in sorted(set(points)))
        reader.refuse(what, (*where, "linear_in"), f"a setting that the claim sweeps; {name} is {values or 'none'}")
    elif len(points) > len(set(points)):
        twice = next(value for value in points if points.count(value) > 1)
        fits = [trial for trial in picked if setting(trial, name) == twice]
        _several(f"{len(fits)} variants where {name} is {shown(twice)}", fits, reader, (*where, "where"))
    return Linear(check["measure"], name, chosen)


def _compare(check: Plain, trials: Sequence[Trial] | None, reader: Reader, where: Key) -> Compare | None:
    relations = [name for name in RELATIONS if name in check]
    if len(relations) != 1 or "than" not in check:
        several = f"{' and '.join(relations)} in one check" if relations else "claims nothing"
        reader.refuse(f"`{relations[0]}` without `than`" if len(relations) == 1 else several, where, EXAMPLES)
        return None
    measure, relation, times = check["measure"], relations[0], check.get("times", 1)
    if not is_number(times) or not times > 0:
        reader.refuse(f"got {shown(times)}", (*where, "times"), "a number greater than 0")
        return None
    if relation == "better" and measure != "score" and not MEASURES[measure].better:
        reader.refuse(f"more of {measure} is neither better nor worse", (*where, relation), "greater, less")
    sides = []
    for name in (relation, "than"):
        fits = _picked(check[name], trials, reader, (*where, name))
        if len(fits) > 1:
            _several(f"{len(fits)} variants", fits, reader, (*where, name))
        sides.append(fits[0] if len(fits) == 1 else None)
    if sides[0] and sides[1]:
        metrics = [Trial(**side).build_task().metric for side in sides if side]
        if sides[0] == sides[1]:
            reader.refuse("both sides are one variant", where, "two variants of the claim's sweep")
        elif measure == "score" and metrics[0] != metrics[1]:
            reader.refuse(f"{metrics[0]} of one task against {metrics[1]} of another", where, "scores by one metric")
        return Compare(measure, relation, check[relation], check["than"], float(times))  # type: ignore[arg-type]
    return None


def _picked(selector: object, trials: Sequence[Trial] | None, reader: Reader, where: Key) -> list[Plain]:
    """Return the variants, seed by seed once, that a selector fits; note why it fits none."""
    chosen = reader.mapping(selector, where, "settings that pick out a variant, such as {cell: its name}")
    before = len(reader.faults)
    known = [name for name in chosen if _is_setting(name, trials, reader, (*where, name))]
    distinct = {trial.model_copy(update={"seed": 0}).id: trial for trial in trials or ()}
    plain = [{**trial.model_dump(mode="json"), "seed": 0} for trial in distinct.values()]
    for name in known if plain else ():
        if not any(matches(trial, {name: chosen[name]}) for trial in plain):
            values = dict.fromkeys(shown(setting(trial, name)) for trial in plain if name in _settings([trial]))
            remedy = f"{name}: null; {NEUTRAL}" if name.startswith("bptt") and "null" in values else ""
            reader.refuse(
                f"no trial of this claim has {shown(chosen[name])}", (*where, name), ", ".join(values), remedy
            )
    fits = [trial for trial in plain if matches(trial, chosen)]
    if plain and not fits and isinstance(selector, dict) and len(reader.faults) == before:
        reader.refuse("fits no variant: no trial of this claim has all of it", where, "settings that stand together")
    return fits if isinstance(selector, dict) else []


def _is_setting(name: object, trials: Sequence[Trial] | None, reader: Reader, where: Key) -> bool:
    """Note what is no setting of the trials or, where there are none to ask, of any trial."""
    if trials is None:
        known, told = [*SETTINGS], isinstance(name, str) and name.startswith(tuple(f"{kind}." for kind in PLUGINS))
    else:
        known, told = _settings([trial.model_dump(mode="json") for trial in trials]), False
    if told or (isinstance(name, str) and name in known):
        return True
    reader.unknown("setting", name, where, known)
    return False


def _several(what: str, fits: Sequence[Plain], reader: Reader, where: Key) -> None:
    """Note that a selector leaves more than one variant, and what would tell them apart."""
    differing = [name for name in _settings(fits) if len({shown(setting(trial, name)) for trial in fits}) > 1]
    reader.refuse(f"fits {what}", where, "settings that pick out one variant", f"add {', '.join(differing)}")


def _settings(plain: Sequence[Plain]) -> list[str]:
    """Return the settings that a selector may name."""
    found: dict[str, None] = {}
    for trial in plain:
        for key, value in trial.items():
            inside = [f"{key}.{inner}" for inner in value if inner != "name"] if isinstance(value, dict) else []
            found |= dict.fromkeys([key, *inside])
    return [name for name in found if name not in ("seed", "protocol")]
