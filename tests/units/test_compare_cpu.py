"""Two folders by the CPU's clock: which clock judges, what it must not decide, and older records beside new ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from report_records import record
from test_compare_folders import CI, timed, times

from harness.compare import clock, folders
from harness.record import Record
from harness.stats.quarters import QUARTERS, quickest


def busy(seed: int, factor: float = 1.0, share: float = 0.6, cpu_factor: float = 1.0) -> list[Record]:
    """Trials whose wall clock moves by a third in each of them, and whose CPU time by a hundredth."""
    rng = np.random.default_rng(seed)
    return [
        timed(trial, rng, factor, wavers=0.3).replace(
            update_cpu_seconds=(0.01 * factor * cpu_factor * np.exp(0.01 * rng.normal(size=QUARTERS))).tolist(),
            cpu_share=share,
        )
        for trial in CI
    ]


def by_wall(records: list[Record]) -> list[Record]:
    """As an older harness wrote them."""
    return [each.replace(update_cpu_seconds=[], cpu_share=math.nan) for each in records]


def compare(base: list[Record], new: list[Record]):
    return folders.compare(base, new, ("a", "b"))


def test_cpu_time_decides_what_the_wall_clock_cannot():
    for seed in range(20):
        base, same, slow = busy(seed), busy(100 + seed), busy(200 + seed, 1.2)
        assert compare(base, same).exit_code == 0 and compare(base, slow).exit_code == 3
        assert compare(by_wall(base), by_wall(same)).exit_code == compare(by_wall(base), by_wall(slow)).exit_code == 4
    found = compare(base, slow)
    assert [line.name for line in found.failed] == [folders.ALL] and folders.CLOCK["cpu"] in found.notes
    seconds = [line.seconds for line in found.lines if line.timing and line.name != folders.ALL]
    assert all(0.0115 < each < 0.0125 for each in seconds)  # of the new side, by the clock that judged


def test_one_record_without_cpu_time_has_all_judged_by_the_wall_clock_and_it_is_said():
    base, new = busy(0), busy(1, 1.2)
    for pair in ((by_wall(base), new), (base, by_wall(new)), (base[:-1] + by_wall(base[-1:]), new)):
        found = compare(*pair)
        assert folders.CLOCK["wall"] in found.notes and folders.CLOCK["cpu"] not in found.notes
        assert {line.name: line.timing for line in found.lines if line.timing} == {
            line.name: line.timing for line in compare(by_wall(base), by_wall(new)).lines if line.timing
        }


def test_a_failed_or_short_trial_without_cpu_time_does_not_bring_the_wall_clock_back():
    short = [record(CI[0], update_seconds=[0.01] * 6, warmup_updates=3)]
    assert folders.CLOCK["cpu"] in compare(busy(0)[1:] + short, busy(1)[1:] + short).notes


@pytest.mark.parametrize("side", ["base", "new"])
@pytest.mark.parametrize("known", ["by CPU time", "by the wall clock"])
def test_a_run_that_had_too_little_of_a_core_decides_nothing(side, known):
    """Equal code, of which one run was switched away so often that all updates took 1.5 times as much of either."""
    calm, crowded = busy(0), busy(1, 1.5, share=0.1)
    if known == "by the wall clock":
        calm, crowded = by_wall(calm), [each.replace(update_cpu_seconds=[]) for each in crowded]
    assert compare(calm, [each.replace(cpu_share=0.6) for each in crowded]).exit_code == (3 if "CPU" in known else 4)
    found = folders.compare(*((crowded, calm) if side == "base" else (calm, crowded)), ("base", "new"))
    assert found.exit_code == 4 and set(times(found).values()) == {"inconclusive"} and folders.ALL not in times(found)
    assert {line.numbers for line in found.undecided} == {folders.TOO_LITTLE}
    (note,) = found.notes
    assert (
        note.startswith(f"Trials had too little of a core, 10% in {side}: ") and "--against REVISION BENCHMARK" in note
    )


def test_the_median_over_the_trials_of_a_run_decides_whether_it_had_enough():
    base, enough = busy(0), clock.LEAST_SHARE
    for few, code in ((5, 0), (6, 4)):
        new = [each.replace(cpu_share=0.1 if at < few else enough) for at, each in enumerate(busy(1))]
        assert compare(base, new).exit_code == code
    both = compare(busy(0, share=0.1), busy(1, share=0.2)).notes
    assert len(both) == 1 and both[0].startswith("Trials had too little of a core, 10% in a; 20% in b: ")


def test_the_quickest_of_each_quarter():
    rng = np.random.default_rng(0)
    for count in range(40):
        seconds = rng.random(count).tolist()
        found = quickest(seconds)
        assert len(found) == (QUARTERS if count >= QUARTERS else 0)
        if found:
            assert min(found) == min(seconds) and set(found) <= set(seconds)
            assert quickest([3 * each for each in seconds]) == [3 * each for each in found]
            assert quickest([*seconds[: count // 2], 0.0, math.inf, math.nan, *seconds[count // 2 :]]) == found
