"""The store keeps every field of what it is given, in its place, and says no to the second writer."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import tempfile
import time

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import UserError
from harness.record import Record, arrow_schema
from harness.storage.rows import decode, encode
from harness.storage.store import Store, open_folder

ID, OTHER = "0123456789abcdef", "fedcba9876543210"


@pytest.fixture
def store(results):
    return Store(results, "quick", "epyc-2c-00000000")


def same(a: Record, b: Record) -> bool:
    """Equal by text, so that NaN equals NaN and 1 does not equal 1.0."""
    return repr(a) == repr(b)


# round trip


def test_every_field_comes_back(store, make_record):
    """Values that differ by field, with what floats and lists can hold at their edges."""
    values = {
        "str": "text \u00e4 \n'\"\0",
        "int": 2**62,
        "float": -0.0,
        "bool": False,
        "int | None": 7,
        "str | None": "layer 0",
        "list[int]": [1, -(2**63), 2**63 - 1],
        "list[str]": ["a", "", "\u00e4\n"],
        "list[float]": [math.nan, math.inf, -math.inf, 5e-324, 0.1],
        "list[list[float]]": [[1.0], [], [math.nan, 2.0]],
    }
    keep = {"trial_id", "status", "schema_version"}
    changes = {f.name: values[f.type] for f in dataclasses.fields(Record) if f.name not in keep}
    record = make_record(ID, **changes, status="diverged")
    assert store.write(record)
    assert same(store.read(ID), record)


def test_defaults_come_back(store, make_record):
    record = make_record(ID)
    store.write(record)
    back = store.read(ID)
    assert same(back, record)
    assert back.failed_update is None and back.gradient_norms == [] and math.isnan(back.valid_score)


def test_half_a_surrogate_pair_does_not_lose_the_record(store, make_record):
    """Python decodes odd file names to such text, and a traceback quotes them; UTF-8 cannot hold it."""
    store.write(make_record(ID, traceback="file \udc80.py"))
    assert store.read(ID).traceback == "file \\udc80.py"


INTS = st.integers(-(2**63), 2**63 - 1)
BY_TYPE = {
    "str": st.text(st.characters(exclude_categories=["Cs"])),
    "int": INTS,
    "float": st.floats(),
    "bool": st.booleans(),
    "int | None": st.none() | INTS,
    "str | None": st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    "list[str]": st.lists(st.text(st.characters(exclude_categories=["Cs"]))),
    "list[int]": st.lists(INTS),
    "list[float]": st.lists(st.floats()),
    "list[list[float]]": st.lists(st.lists(st.floats())),
    "Status": st.sampled_from(["ok", "diverged", "failed"]),
}
RECORDS = st.builds(
    Record,
    **{f.name: BY_TYPE[f.type] for f in dataclasses.fields(Record) if f.name != "schema_version"},
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example])
@given(RECORDS)
def test_any_record_survives_encoding(record):
    assert same(Record.from_plain(decode(encode(record)).to_pylist()[0]), record)


def test_any_parquet_reader_opens_a_record(store, make_record):
    store.write(make_record(ID, score=0.5))
    table = pq.read_table(store.path(ID), page_checksum_verification=True)
    assert table.schema.names == arrow_schema().names and table["score"].to_pylist() == [0.5]


# writing once


def test_first_writer_wins(store, make_record):
    assert store.write(make_record(ID, score=0.1)) is True
    assert store.write(make_record(ID, score=0.2)) is False
    assert store.read(ID).score == 0.1
    assert os.listdir(store.folder) == [f"{ID}.parquet"]


def test_has_ids_and_read_all_see_records_only(store, make_record):
    assert (store.ids(), store.read_all(), store.has(ID)) == (set(), [], False)
    for trial_id in (OTHER, ID):
        store.write(make_record(trial_id))
    (store.folder / f".tmp-{ID}-1-aa").write_bytes(b"left by a killed writer")
    (store.folder / ".tmp-x.parquet").write_bytes(b"and another")
    (store.folder / "notes.txt").write_text("mine")
    assert store.ids() == {ID, OTHER}
    assert [record.trial_id for record in store.read_all()] == [ID, OTHER]
    assert store.has(ID) and not store.has("0" * 16)


def test_reading_what_is_not_stored_is_a_key_error(store):
    with pytest.raises(KeyError):
        store.read(ID)


def test_two_processes_write_one_id_and_exactly_one_wins(results, run_python):
    code = """
        import sys, time
        from harness.record import Record
        from harness.storage.store import Store
        root, me, start = sys.argv[1], sys.argv[2], float(sys.argv[3])
        store = Store(root, "quick", "fp")
        won = []
        for i in range(40):
            record = Record(trial_id=f"{i:016x}", benchmark="quick", trial="", task="", cell=me, seed=0, status="ok")
            while time.time() < start + i * 0.02:
                pass
            if store.write(record):
                won.append(i)
        print(won)
    """
    start = str(time.time() + 3)
    racers = [run_python(code, str(results), name, start) for name in ("a", "b")]
    won = {name: json.loads(racer.communicate(timeout=60)[0]) for name, racer in zip("ab", racers, strict=True)}
    assert sorted(won["a"] + won["b"]) == list(range(40))
    for record in Store(results, "quick", "fp").read_all():
        assert int(record.trial_id, 16) in won[record.cell]


# places


@pytest.mark.parametrize(
    "name", ["../../x", "/etc", "a/b", "", ".", "..", ".hidden", "a\0b", "x" * 300, "a\nb", "a b", "-rf", "\u00e4"]
)
def test_a_name_that_is_not_one_plain_component_is_refused(results, name):
    for build in (
        lambda: Store(results, name, "fp"),
        lambda: Store(results, "quick", name),
        lambda: Store(results, "quick", "fp").has(name),
    ):
        with pytest.raises(UserError, match="cannot name") as caught:
            build()
        assert caught.value.exit_code == 2 and len(str(caught.value)) < 400


def test_a_link_that_leads_out_is_refused(results, tmp_path):
    results.mkdir()
    (results / "quick").symlink_to(tmp_path)
    with pytest.raises(UserError, match="leads out"):
        Store(results, "quick", "fp")


def test_check_writable_leaves_an_empty_folder(store):
    store.check_writable()
    assert os.listdir(store.folder) == []


@pytest.mark.parametrize("root", ["a-file", "a-file/below", "/proc/nowhere", "/proc/self"])
def test_an_unwritable_folder_is_the_users_fault(tmp_path, root):
    (tmp_path / "a-file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write results") as caught:
        Store(tmp_path / root, "quick", "fp").check_writable()
    assert "or another place: --results DIR" in str(caught.value)


def test_a_read_only_folder_is_the_users_fault(run_python):
    """In a process that is nobody, because root may write anywhere; so not below pytest's private folder."""
    code = """
        import os, sys
        from harness.storage.store import Store, UserError
        if os.getuid() == 0:
            os.setuid(65534)
        try:
            Store(sys.argv[1], "quick", "fp").check_writable()
        except UserError as err:
            print(err)
    """
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        out, _ = run_python(code, folder).communicate(timeout=60)
    assert "Permission denied" in out


def test_open_folder_reads_every_fingerprint(results, make_record):
    for fingerprint, trial_id in (("m1-8c-aa", ID), ("epyc-2c-bb", OTHER), ("epyc-2c-bb", ID)):
        Store(results, "quick", fingerprint).write(make_record(trial_id, fingerprint=fingerprint))
    with Store(results, "quick", "epyc-2c-bb").claim("0" * 16):
        found = open_folder(results / "quick")
    assert [(r.fingerprint, r.trial_id) for r in found] == [("epyc-2c-bb", ID), ("epyc-2c-bb", OTHER), ("m1-8c-aa", ID)]
    assert len(open_folder(results / "quick" / "m1-8c-aa")) == 1


def test_open_folder_of_nothing(tmp_path):
    assert open_folder(tmp_path) == []
    with pytest.raises(UserError, match="no results at"):
        open_folder(tmp_path / "missing")


@pytest.mark.slow
def test_ten_thousand_records_are_read_in_a_minute_of_one_core(store, make_record):
    """By a tenth of them, since the cost is per file; by processor time, since others share the machine."""
    for i in range(1_000):
        store.write(make_record(f"{i:016x}", gradient_norms=[0.1] * 400, update_seconds=[0.1] * 400))
    started = time.process_time()
    assert len(store.read_all()) == 1_000
    assert time.process_time() - started < 6
