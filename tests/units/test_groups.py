"""Groups of updates: evaluations fall where they belong, also when a trial goes on in the middle."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from harness.data.groups import MOST, Groups


class Numbers:
    """A loader of numbers in place of batches, of which the first few were handed out."""

    def __init__(self, count: int, done: int = 0) -> None:
        self.count, self.done = count, done

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Any:
        return iter(range(self.done, self.count))


def course(count: int, evaluations: int, done: int = 0) -> tuple[list[int], list[int]]:
    """Updates that are made, and after how many of all of them Lightning evaluates: also at the end."""
    groups = Groups(Numbers(count, done), evaluations, done)
    made, evaluated = [], []
    for index, group in enumerate(groups):
        made += group
        if (index + 1) % groups.per_evaluation == 0:
            evaluated.append(done + len(made))
    assert len(groups) >= groups.per_evaluation >= 1  # or Lightning refuses
    return made, [*evaluated, count] if evaluated[-1:] != [count] else evaluated


@given(st.integers(1, 400), st.integers(1, 40), st.data())
def test_a_trial_that_goes_on_makes_the_rest_of_the_same_course(count, evaluations, data):
    done = data.draw(st.integers(0, count))
    made, evaluated = course(count, evaluations)
    assert made == list(range(count)) and all(len([*group]) <= MOST for group in Groups(Numbers(count), evaluations))
    rest, due = course(count, evaluations, done)
    assert rest == made[done:]
    assert due == [at for at in evaluated if at >= max(1, done)]  # what was due right after `done` is not made yet
