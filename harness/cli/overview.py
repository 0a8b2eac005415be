"""What `harness list` and `harness show` print: names, settings and costs, as aligned text, without training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness import cost, machine, registry
from harness.config.grid import fields
from harness.config.wording import in_words, shown
from harness.draft import read
from harness.errors import UserError
from harness.launch import names
from harness.launch.base import Target
from harness.match import Matched
from harness.report.variants import flat, unused
from harness.report.words import NONE, aligned, duration, plural, setting_title, setting_value
from harness.spec import Benchmark
from harness.storage.objects import Place
from harness.trial import Trial, key_of

BENCHMARKS = Path("benchmarks")
MOST_ROWS = 200


def listed(what: str | None) -> Iterator[str]:
    """Yield the lines of `harness list`: all benchmarks, cells and tasks, or one kind of them."""
    sections = {"benchmarks": _benchmarks, "cells": lambda: _plugins("cells"), "tasks": lambda: _plugins("tasks")}
    for name, lines in sections.items():
        if what in (None, name):
            yield from [f"{name}:", *(f"  {line}" for line in lines()), ""]


def _benchmarks() -> Iterator[str]:
    files = sorted(BENCHMARKS.rglob("*.yaml"), key=lambda file: (len(file.parts), file))
    if not files:
        yield f"no *.yaml file in {BENCHMARKS}/ below this folder"
    for file in files:
        try:
            draft = read(file)
            faults = draft.reader.found()
        except UserError as error:
            faults = error.faults
        if faults:
            yield f"{file}  ({plural(len(faults), 'fault')}: see `harness show {file}`)"
        else:
            yield f"{file}  (at most {plural(draft.size(), 'trial')})"
            yield f"    {draft.question}"


def _plugins(kind: str) -> Iterator[str]:
    for name, plugin in registry.members(f"harness.{kind}").items():
        yield f"{name}: {plugin.summary()}"
        for setting, field in fields(plugin).items():
            info = plugin.model_fields[setting]
            default = "" if info.is_required() else f" (default {shown(info.default)})"
            yield f"    {setting}: {in_words(field.adapter.json_schema())}{default}"


def overview(benchmark: Benchmark, results: Place) -> Iterator[str]:
    """Yield the lines of `harness show`: the question, one row a variant, and the cost of what is not stored yet."""
    search = benchmark.search.digest if benchmark.search else ""
    target = Target(str(results), benchmark.name, machine.fingerprint(), wandb=False, search=search)
    stored = target.ended()
    groups: dict[str, list[Trial]] = {}
    for trial in benchmark.trials:
        groups.setdefault(key_of(trial.model_dump(mode="json")), []).append(trial)
    variants = list(groups.values())
    yield f"{benchmark.report_name}: {benchmark.question}"
    yield ""
    yield from _table(variants, stored)
    yield from map(_budget, benchmark.matched)
    done = len(names(benchmark, target))
    todo = [trial for trial in benchmark.known if trial.id not in stored]
    todo += [study.base for study in benchmark.studies if not study.search.foreseen for _ in range(study.budget)]
    todo = todo[: benchmark.size - done]
    cores = machine.cpu_count()
    yield ""
    yield f"{_count(benchmark, variants)} = {plural(benchmark.size, 'trial')}, {done} of them stored"
    yield (
        f"about {duration(cost.wall_seconds(todo, cores))} to run {plural(len(todo), 'trial')} on "
        f"{plural(cores, 'core')}: an estimate, within a factor of about 2"
        if todo
        else "nothing to run: `harness report` writes the table"
    )


def _count(benchmark: Benchmark, variants: Sequence[Sequence[Trial]]) -> str:
    """Say what the trials are the product of."""
    budgets = {study.budget for study in benchmark.studies}
    if benchmark.search and len(budgets) == 1:
        searches = f"{plural(len(benchmark.studies), 'search').replace('searchs', 'searches')}, variants by seeds"
        return f"{searches}, x {budgets.pop()} tries ({benchmark.search.kind})"
    seeds = {len(group) for group in variants}
    each = f" x {plural(seeds.pop(), 'seed')}" if len(seeds) == 1 else ""
    return f"{plural(len(variants), 'variant')}{each}"


def _budget(kind: Matched) -> str:
    """Say what is held equal and how nearly."""
    fits = [fit for fit in kind.fits.values() if fit.mismatch == fit.mismatch]
    targets = " / ".join(f"{target:,.0f}" for target in sorted({fit.target for fit in fits}))
    worst = max(fits, key=lambda fit: abs(fit.mismatch), default=None)
    off = f", at most {100 * worst.mismatch:+.1f} % off" if worst else ""
    return f"held equal: {kind.match.title}, {targets or 'nothing to match'}{off}"


def _table(variants: Sequence[Sequence[Trial]], stored: set[str]) -> Iterator[str]:
    """Yield a header and a row for each variant: what differs, trials, cost of one trial."""
    settings = [flat(group[0].model_dump(mode="json")) for group in variants[:MOST_ROWS]]
    idle = [unused(group[0].model_dump(mode="json"), ()) for group in variants[:MOST_ROWS]]
    texts = [
        {key: NONE if key in off else setting_value(key, row[key]) for key in row}
        for row, off in zip(settings, idle, strict=True)
    ]
    keys = ["task", "cell", *(key for key in _differing(texts) if key not in ("task", "cell"))]
    rows = [[*map(setting_title, keys), "trials", "stored", "parameters", "updates", "tokens", "seconds"]]
    for text, group in zip(texts, variants, strict=False):
        one = cost.estimate(group[0])
        there = sum(trial.id in stored for trial in group)
        numbers = [len(group), there, cost.parameters(group[0]), one.updates, one.tokens]
        rows.append([*(text.get(key, NONE) for key in keys), *(f"{n:,}" for n in numbers), f"~{one.seconds:.2g}"])
    yield from aligned(rows, left=len(keys))
    if len(variants) > MOST_ROWS:
        yield f"... and {len(variants) - MOST_ROWS:,} more variants"


def _differing(texts: Sequence[dict[str, str]]) -> list[str]:
    """Return the settings with more than one value among the variants to which they matter."""
    values: dict[str, set[str]] = {}
    for text in texts:
        for key, value in text.items():
            values.setdefault(key, set()).add(value)
    return [key for key, found in values.items() if len(found - {NONE}) > 1]
