"""A record is one row of plain data, and its Arrow schema follows its annotations."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle

import pyarrow as pa
import pytest
from report_records import grid
from report_records import record as report_record

from harness.metrics import METRICS
from harness.record import TIMED, Record, arrow_schema
from harness.storage import rows

FIELDS = {field.name for field in dataclasses.fields(Record)}


def test_schema_has_every_field_in_order():
    assert arrow_schema().names == [field.name for field in dataclasses.fields(Record)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("seed", pa.int64()),
        ("score", pa.float64()),
        ("higher_is_better", pa.bool_()),
        ("status", pa.string()),
        ("failed_update", pa.int64()),
        ("failed_layer", pa.string()),
        ("curve_examples", pa.list_(pa.int64())),
        ("gradient_by_lag_by_layer", pa.list_(pa.list_(pa.float64()))),
    ],
)
def test_annotations_become_arrow_types(name, expected):
    assert arrow_schema().field(name).type == expected


def test_plain_and_back_is_the_same_record(make_record):
    record = make_record(gradient_norms=[1.0, math.inf], failed_update=3)
    assert repr(Record.from_plain(record.plain())) == repr(record)


def test_a_field_that_came_later_has_its_default(make_record):
    row = make_record().plain()
    del row["verdict"], row["gradient_norms"], row["failed_update"]
    record = Record.from_plain(row)
    assert (record.verdict, record.gradient_norms, record.failed_update) == ("", [], None)


def test_a_column_that_this_version_does_not_know_is_left_out(make_record):
    assert "colour" not in Record.from_plain(make_record().plain() | {"colour": "red"}).plain()


def test_defaults_are_not_shared(make_record):
    make_record().gradient_norms.append(1.0)
    assert make_record().gradient_norms == []


def test_without_times_drops_what_a_clock_measured_and_nothing_else(make_record):
    kept = make_record().without_times()
    assert {"score", "gradient_norms", "weights_sha256", "trial_id"} <= kept.keys()
    assert not kept.keys() & {"seconds", "tokens_per_second", "update_seconds", "started", "peak_memory_bytes"}


def test_every_timed_name_is_a_field():
    assert TIMED <= FIELDS


def test_every_metric_is_a_field_or_a_score_and_every_score_a_metric():
    from harness.models.scoring import SCORES

    assert METRICS.keys() - FIELDS == SCORES.keys()


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_metric_formats_any_float(metric):
    assert all(format(value, metric.format) for value in (0.0, -1.5, 1e12, 0.333))
    assert metric.doc and metric.title and metric.better in ("higher", "lower", "")


def test_names_of_clock_metrics_carry_their_unit():
    endings = {"s": "seconds", "B": "_bytes", "tokens/s": "per_second"}
    assert all(m.name.endswith(endings[m.unit]) for m in METRICS.values() if m.unit in endings)


def test_a_record_that_leaves_its_lists_in_the_table_is_like_any_other() -> None:
    """`rows.records_of` makes lists at each look: copies, pickles and changed ones must hold them all the same."""
    wanted = [report_record(trial) for trial in grid()[:3]]
    (read, *_) = found = rows.records_of([rows.table_of(wanted)])
    assert list(map(repr, found)) == list(map(repr, wanted)) and read.gradient_by_lag is not read.gradient_by_lag
    for again in (copy.copy(read), copy.deepcopy(read), pickle.loads(pickle.dumps(read)), read.replace()):
        assert repr(again) == repr(wanted[0])
    assert repr(rows.table_of(found).to_pylist()) == repr(rows.table_of(wanted).to_pylist())
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = read.nothing
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = wanted[0].nothing


def test_an_id_does_not_go_along_with_a_copy_of_other_settings() -> None:
    trial = grid()[0]
    one = trial.id
    other = trial.model_copy(update={"hidden_size": trial.hidden_size + 1})
    assert trial.id == one != other.id and trial.seeded(7).id == trial.model_copy(update={"seed": 7}).id
    assert pickle.loads(pickle.dumps(trial)).id == one and copy.deepcopy(trial) == trial == trial.seeded(trial.seed)
