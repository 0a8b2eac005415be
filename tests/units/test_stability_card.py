"""The stability card of a trial that ran: per layer, by update, and consistent with what it was made from."""

from __future__ import annotations

import pytest

from harness.engine import run_trial
from harness.stability import decay
from harness.trial import Trial


def run(**settings):
    plain = {"hidden_size": 8, "examples": 320, "batch_size": 8, "evaluations": 1, "layers": 2, **settings}
    record = run_trial(Trial(task={"name": "adding", "length": 12}, cell={"name": "gru"}, **plain))
    assert record.status == "ok", record.traceback
    return record


def test_decay_and_horizon_stand_for_each_layer():
    record = run()
    assert len(record.gradient_decay_by_layer) == len(record.gradient_horizon_by_layer) == 2
    for layer, norms in enumerate(record.gradient_by_lag_by_layer):
        found = decay(record.gradient_lags, norms)
        assert (record.gradient_decay_by_layer[layer], record.gradient_horizon_by_layer[layer]) == tuple(found)


def test_one_layer_is_the_whole():
    record = run(layers=1)
    assert record.gradient_decay_by_layer == pytest.approx([record.gradient_decay])


def test_what_is_measured_at_every_update_is_counted_over_all_of_them():
    record = run(optimizer="sgd", learning_rate=1.5, clip_norm=0.01, batch_size=2)
    assert record.updates == 160 and 0 < record.clipped_share <= 1
    assert record.gradient_norm_after_median <= 0.01 * (1 + 1e-6) < record.gradient_norm_median
    assert record.loss_spikes > 0
