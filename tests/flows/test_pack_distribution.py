"""Rounding grows with each update, so that after hundreds of them a packed trial ends elsewhere than alone, as it does
in float32 and in float64; over seeds packs end where trials alone do."""

from __future__ import annotations

import pytest
from packs import packed
from scipy.stats import wilcoxon

from harness.engine import run_trial
from harness.trial import Trial


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
def test_over_seeds_packs_and_trials_alone_end_alike(cell: str) -> None:
    """Paired by seed, neither scores nor losses lean to one side: each p by chance is below 0.001 in a thousandth."""
    same = {"task": {"name": "digits"}, "cell": {"name": cell}, "hidden_size": 16, "examples": 32 * 120}
    same |= {"batch_size": 32, "learning_rate": 0.01, "clip_norm": 1.0, "evaluations": 1}
    trials = [Trial(**same, seed=seed).normalised() for seed in range(16)]
    beside, alone = packed(trials), [run_trial(trial) for trial in trials]
    assert {record.packed for record in beside} == {16} and {record.packed for record in alone} == {1}
    for name in ("score", "train_loss"):
        ends = [[getattr(record, name) for record in records] for records in (beside, alone)]
        assert any(a != b for a, b in zip(*ends, strict=True))  # rounding has grown: there is something to test
        assert wilcoxon(*ends).pvalue > 0.001, (name, ends)
