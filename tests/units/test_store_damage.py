"""A stored record that is cut, altered, foreign or of another version is noticed, named, and what to do is said."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.errors import DamagedStore
from harness.record import SCHEMA_VERSION
from harness.storage import sealed
from harness.storage.rows import decode, encode
from harness.storage.store import Store, open_folder

ID, OTHER = "0123456789abcdef", "fedcba9876543210"


@pytest.fixture
def store(results):
    return Store(results, "quick", "fp")


def test_every_flipped_byte_and_every_cut_is_noticed(make_record):
    data = encode(make_record(ID, gradient_norms=[0.1] * 50))
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 1 << (position % 8)
        with pytest.raises(ValueError, match=r"altered|cut short"):
            decode(bytes(flipped))
        with pytest.raises(ValueError, match=r"is empty|cut short|altered"):
            decode(data[:position])
    decode(data)


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "is empty"), (b"PAR1", "not written by harness"), (b"\0" * 5000, "not written by harness")],
)
def test_a_damaged_file_is_named_with_a_remedy(store, make_record, content, says):
    store.write(make_record(ID))
    store.path(ID).write_bytes(content)
    for read in (lambda: store.read(ID), store.read_all, lambda: open_folder(store.benchmark_folder)):
        with pytest.raises(DamagedStore, match=says) as caught:
            read()
        assert caught.value.exit_code == 6
        assert f"rm '{store.path(ID)}'" in str(caught.value) and "repeats that trial" in str(caught.value)


def test_a_parquet_file_of_someone_else_is_refused(store, make_record):
    store.write(make_record(ID))
    pq.write_table(pa.table({"x": [1]}), store.path(OTHER))
    with pytest.raises(DamagedStore, match="not written by harness"):
        store.read_all()


def test_a_renamed_record_is_refused(store, make_record):
    store.write(make_record(ID))
    store.path(ID).rename(store.path(OTHER))
    with pytest.raises(DamagedStore, match=f"holds the record of trial {ID}"):
        store.read(OTHER)


def test_all_damaged_files_are_named_at_once(store, make_record):
    for i in range(14):
        store.write(make_record(f"{i:016x}"))
        if i:
            store.path(f"{i:016x}").write_bytes(b"x")
    with pytest.raises(DamagedStore) as caught:
        store.read_all()
    assert str(caught.value).count("rm '") == 10 and "and 3 more" in str(caught.value)


def test_repeating_after_removing_the_damaged_file_works(store, make_record):
    store.write(make_record(ID))
    store.path(ID).write_bytes(b"")
    store.path(ID).unlink()
    assert store.write(make_record(ID)) and store.read(ID).trial_id == ID


# versions


def test_a_newer_version_is_refused_naming_both(store, make_record):
    store.write(make_record(ID, schema_version=SCHEMA_VERSION + 1))
    with pytest.raises(DamagedStore, match=f"version {SCHEMA_VERSION + 1}, newer than {SCHEMA_VERSION}") as caught:
        store.read(ID)
    assert "update harness" in str(caught.value) and "rm " not in str(caught.value)


def test_an_older_version_is_read_with_defaults_beside_a_new_one(store, make_record):
    store.write(make_record(OTHER))
    row = make_record(ID, score=0.75).plain() | {"schema_version": 0, "colour": "gone since"}
    del row["verdict"], row["gradient_norms"]
    store.path(ID).write_bytes(sealed.pack(pa.Table.from_pylist([row])))
    old, new = store.read_all()
    assert (old.score, old.verdict, old.gradient_norms, old.schema_version) == (0.75, "", [], SCHEMA_VERSION)
    assert new.trial_id == OTHER
