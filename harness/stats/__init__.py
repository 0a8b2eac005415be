"""Numbers with their doubt, over seeds: intervals, paired comparisons, what more tries would give. No torch: level 0.

    order.py    medians and intervals that assume no distribution     center.py   interquartile mean, bootstrap
    paired.py   two variants on the same seeds                        share.py    shares, such as of diverged trials
    several.py  many comparisons at once                              tries.py    expected best of k tries
    profile.py  variants across tasks                                 power.py    how many seeds would be needed

A trial that diverged or failed counts as the worst: its score is `worst(...)`, an infinity, never missing. The tests
check every file against scipy or a closed form, and measure coverage and error rates by simulation.
"""

from harness.stats.order import Summary, median, median_ranks, summary, worst

__all__ = ["Summary", "median", "median_ranks", "summary", "worst"]
