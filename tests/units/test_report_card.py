"""The stability card in a report: each number computed again from the records, and nothing shown that none measured."""

from __future__ import annotations

import json
import math
import statistics

import pytest
from report_records import DIGITS, diverged, failed, realistic, record, rows_of, told

from harness.metrics import METRICS
from harness.record import Record
from harness.report.build import build
from harness.report.card import card
from harness.trial import Trial


def trials(cell: str = "lstm", seeds: int = 3, **settings) -> list[Trial]:
    plain = {"task": DIGITS, "cell": {"name": cell}, "examples": 100, **settings}
    return [Trial(**plain, seed=seed) for seed in range(seeds)]


def shown(records: list[Record], cell: str = "lstm") -> dict[str, str]:
    """The card of one cell's only row: {name: text}."""
    (table,) = build("quick", "Which cell?", records, None).machines
    (row,) = [row for row in table.rows if row.variant.cell == cell]
    return {column.name: column.text(row) for column in card(table)}


def test_lists_are_medians_over_seeds_place_by_place() -> None:
    records, expected = realistic()
    for row in rows_of(records, expected):
        found = [next(r for r in records if r.trial_id == i) for i in row["trial_ids"].split()]
        for name in ("gradient_decay_by_layer", "gradient_horizon_by_layer", "lyapunov", "truncation_cosine"):
            lists = [getattr(r, name) for r in found if getattr(r, name)]
            expected_ = [statistics.median(values) for values in zip(*lists, strict=True)]
            got = json.loads(row[name].replace("inf", "Infinity")) if row[name] else []
            assert got == pytest.approx(expected_)


def test_a_card_says_what_the_records_hold() -> None:
    values = {
        "gradient_norm_median": 0.5, "gradient_norm_p99": 4.0, "gradient_norm_max": 9.0, "clipped_share": 0.25,
        "gradient_norm_after_median": 0.25, "update_ratio_median": 0.001, "gradient_decay": 0.9,
        "predicted_decay": 0.91, "lyapunov": [math.log(0.91), -1.0], "gradient_horizon": 43.7,
    }  # fmt: skip
    spikes = (3, 0, 5)
    found = [record(t, loss_spikes=n, **values) for t, n in zip(trials(), spikes, strict=True)]
    texts = shown(found)
    expected = {
        "trials_diverged": "0/3 [0 %, 71 %]",
        "loss_spikes": "3",
        "clipped_share": "25 %",
        "gradient_horizon": "44",
    }
    expected |= {"gradient_decay": "0.900 [0.900, 0.900]", "predicted_decay": "0.910", "lyapunov": "-0.094"}
    expected |= {"gradient_norm_max": "9", "gradient_norm_after_median": "0.25", "update_ratio_median": "0.001"}
    assert {name: texts[name] for name in expected} == expected
    assert "failed_update" not in texts and "skipped_updates" not in texts  # nothing to tell
    assert "gradient_decay_by_layer" not in texts  # one layer is the whole


def test_two_layers_stand_side_by_side_and_a_horizon_not_reached_is_a_bound() -> None:
    layers = {"gradient_decay_by_layer": [0.95, 0.8], "gradient_lags": [0, 63]}
    horizons = ([math.inf, 20.0], [40.0, 21.0], [math.inf, 22.0])
    found = [
        record(t, gradient_horizon_by_layer=far, **layers) for t, far in zip(trials(layers=2), horizons, strict=True)
    ]
    one = [record(t) for t in trials("gru")]
    texts = shown(found + one)
    assert texts["gradient_decay_by_layer"] == "0.950 / 0.800"
    assert texts["gradient_horizon_by_layer"] == "≥ 63 / 21"
    assert shown(found + one, "gru")["gradient_decay_by_layer"] == "–"  # noqa: RUF001


def test_the_first_event_is_the_earliest_of_the_seeds_and_names_where() -> None:
    one, two, three = trials()
    found = [diverged(one), diverged(two, failed_update=4, failed_layer="head", failed_step=None), record(three)]
    texts = shown(found)
    assert texts["failed_update"] == "update 4, head" and texts["trials_diverged"] == "2/3 [9 %, 99 %]"
    (row,) = rows_of(found)
    assert (row["failed_update"], row["failed_layer"], row["failed_step"]) == ("4", "head", "")
    assert shown(found[:1])["failed_update"] == "update 17, layers.0.weight_hh, step 3"


def test_windows_of_truncation_are_few_in_a_cell_and_all_in_the_csv() -> None:
    ks, cosines = [1, 2, 4, 8, 16, 32], [0.1, 0.2, 0.4, 0.6, 0.9, 1.0]
    found = [record(t, truncation_k=ks, truncation_cosine=cosines) for t in trials()]
    assert shown(found)["truncation_cosine"] == "1: 0.10, 4: 0.40, 8: 0.60, 32: 1.00"
    (row,) = rows_of(found)
    assert json.loads(row["truncation_k"]) == ks and json.loads(row["truncation_cosine"]) == cosines
    other = [record(t, truncation_k=[1, 3], truncation_cosine=[0.5, 0.7]) for t in trials()[:1]]
    both = shown(other + found[1:2])["truncation_cosine"]
    assert both == "1: 0.30, 3: 0.70, 8: 0.60, 32: 1.00"  # each over the seeds that have it


def test_a_failed_trial_counted_no_spikes() -> None:
    (row,) = rows_of([record(t, loss_spikes=4) for t in trials()[:2]] + [failed(trials()[2])])
    assert (row["loss_spikes"], row["loss_spikes_n"]) == ("4.0", "2")


def test_no_gradient_through_time_is_a_dash_and_skipped_updates_show_where_there_are_some() -> None:
    found = [record(t) for t in trials("feedforward")] + [record(t, skipped_updates=2) for t in trials()]
    texts = shown(found, "feedforward")
    assert {texts[name] for name in ("gradient_decay", "predicted_decay", "lyapunov", "truncation_cosine")} == {"–"}  # noqa: RUF001
    assert texts["skipped_updates"] == "0" and shown(found)["skipped_updates"] == "2"


def test_a_dead_network_has_an_exponent_of_minus_infinity() -> None:
    texts = shown([record(t, lyapunov=[-math.inf], predicted_decay=0.0) for t in trials()])
    assert texts["lyapunov"] == "-∞" and texts["predicted_decay"] == "0.000"


def test_markdown_has_a_second_table_of_each_task_and_a_legend_line_of_each_column() -> None:
    records, expected = realistic()
    page = told(records, expected)["md"]
    (table,) = build("quick", "Which cell?", records, expected).machines
    for group in table.groups:
        after = page.split(f"Stability on {group.name}:\n\n")[1]
        lines = after[: after.index("\n\n")].splitlines()
        assert len(lines) == 2 + len(group.rows)
        assert all(line.startswith(f"| {row.variant.cell} |") for line, row in zip(lines[2:], group.rows, strict=True))
    legend = page.split("### Columns of stability")[1].split("###")[0]
    for column in card(table)[1 + len(table.differing) :]:
        assert f"* **{column.title.replace('|', chr(92) + '|')}**: " in legend
    assert METRICS["loss_spikes"].doc in legend
