"""What is said without having listened: counts of what stands together in answers, held against their formula."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data import floors

ROWS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), min_size=1, max_size=6)


def rows_of(lists):
    """Rows of classes 0 to 3, -100 beyond each."""
    rows = np.full((len(lists), max(map(len, lists))), -100, np.int16)
    for row, values in zip(rows, lists, strict=True):
        row[: len(values)] = values
    return rows


@given(train=ROWS, before=st.lists(st.integers(0, 3), max_size=6))
def test_whatever_came_before_the_chances_of_all_symbols_sum_to_one(train, before):
    asked = rows_of([[*before, y] for y in range(4)])
    p = floors.next_symbol(rows_of(train), asked, 4).reshape(4, -1)[:, -1]
    assert p.sum() == pytest.approx(1) and (p > 0).all()


@given(train=ROWS, test=ROWS)
def test_the_chance_of_a_symbol_is_that_of_its_formula(train, test):
    """Counted with dictionaries, an n-gram at a time."""

    def grams(n):
        return [tuple(([4] * 4 + row)[i + 5 - n : i + 5]) for row in train for i in range(len(row))]

    def chance(gram):
        n = len(gram)
        if not n:
            return 1 / 4
        seen = grams(n) if n == 5 else [longer[1:] for longer in set(grams(n + 1))]
        counts = {one: seen.count(one) for one in seen}
        once, twice = (list(counts.values()).count(times) + 1 for times in (1, 2))
        d, after = once / (once + 2 * twice), [k for one, k in counts.items() if one[:-1] == gram[:-1]]
        lower = chance(gram[1:])
        return lower if not after else (max(0, counts.get(gram, 0) - d) + d * len(after) * lower) / sum(after)

    asked = [tuple(([4] * 4 + row)[i : i + 5]) for row in test for i in range(len(row))]
    assert floors.next_symbol(rows_of(train), rows_of(test), 4) == pytest.approx([chance(gram) for gram in asked])
