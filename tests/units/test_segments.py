"""Records that move into segments: the store does not notice, a kill loses nothing, damage and newer rows are named."""

from __future__ import annotations

import os
import subprocess
import threading

import pytest

from harness import record
from harness.errors import DamagedStore
from harness.record import SCHEMA_VERSION
from harness.storage import compact as compaction
from harness.storage import rows, sealed, segments, store
from harness.storage.compact import compact
from harness.storage.store import Store, open_folder

IDS = [f"{i:016x}" for i in range(12)]


@pytest.fixture
def full(results, make_record):
    """A store of 12 records that differ, each in a file of its own."""
    made = Store(results, "quick", "fp")
    for i, trial_id in enumerate(IDS):
        made.write(make_record(trial_id, seed=i, score=i / 7, gradient_norms=[i + 0.1] * i, fingerprint="fp"))
    return made


def shown(records) -> list[str]:
    return [repr(record) for record in records]


@pytest.fixture
def small(monkeypatch):
    """Segments of 5 records."""
    monkeypatch.setattr(compaction, "AT_ONCE", 5)


def test_whoever_asks_the_store_does_not_notice(full, small, make_record):
    before = shown(full.read_all())
    assert compact(full) == 12 and full.loose() == [] and len(segments.paths(full.folder)) == 3
    assert (
        shown(full.read_all()) == before == shown(open_folder(full.benchmark_folder)) == shown(open_folder(full.folder))
    )
    assert full.ids() == set(IDS) and all(full.has(trial_id) for trial_id in IDS) and not full.has("f" * 16)
    assert repr(full.read(IDS[7])) == before[7] == repr(store.read_file(full.path(IDS[7])))
    assert full.write(make_record(IDS[3], score=9.0)) is False, "the first writer wins, also in a segment"
    assert store.find(full.root, IDS[3]) == [full.path(IDS[3])] and store.find(full.root, "seg") == []
    with pytest.raises(KeyError):
        full.read("f" * 16)


def test_files_and_segments_stand_side_by_side_and_later_records_move_too(full, small, make_record):
    compact(full)
    full.write(make_record("a" * 16, fingerprint="fp"))
    assert [r.trial_id for r in full.read_all()] == [*IDS, "a" * 16]
    assert compact(full, least=2) == 0 and compact(full) == 1
    assert [r.trial_id for r in full.read_all()] == [*IDS, "a" * 16] and compact(full) == 0


def test_only_the_fields_that_are_asked_for_are_read(full, small, make_record):
    compact(full)
    full.write(make_record("a" * 16, score=0.5, gradient_norms=[1.0], fingerprint="fp"))
    found = full.read_all({"score", "trial_id"})
    assert [r.score for r in found] == [*(i / 7 for i in range(12)), 0.5]
    assert shown(full.read_all(ids=[IDS[5], "a" * 16, "0"])) == shown([full.read(IDS[5]), full.read("a" * 16)])
    assert all(r.gradient_norms == [] and r.metric == "" and r.task == "adding" for r in found)


def test_a_record_in_a_file_and_in_a_segment_counts_once_and_its_file_goes_next_time(full, small):
    copies = {path: path.read_bytes() for path in full.loose()}
    compact(full)
    for path, data in copies.items():
        path.write_bytes(data)  # as if it was killed before it removed them
    assert [r.trial_id for r in full.read_all()] == IDS
    assert compact(full) == 12 and full.loose() == [] and len(segments.paths(full.folder)) == 3


def test_a_repeat_with_other_numbers_is_kept_beside_what_the_segment_holds(full, small, make_record):
    compact(full)
    full.path(IDS[2]).write_bytes(rows.encode(make_record(IDS[2], score=0.9, fingerprint="fp")))
    assert compact(full) == 0 and full.loose() == [full.path(IDS[2])]
    assert sorted(r.score for r in full.read_all() if r.trial_id == IDS[2]) == [2 / 7, 0.9]


def test_a_damaged_file_stays_for_the_report_to_name(full, small):
    full.path(IDS[4]).write_bytes(b"broken")
    assert compact(full) == 11 and full.loose() == [full.path(IDS[4])]
    with pytest.raises(DamagedStore, match=IDS[4]):
        full.read_all()


def test_every_flipped_byte_and_every_cut_of_a_segment_is_noticed_and_named(full):
    compact(full)
    (path,) = segments.paths(full.folder)
    data = path.read_bytes()
    for position in range(0, len(data), 7):
        flipped = bytearray(data)
        flipped[position] ^= 1 << (position % 8)
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match=r"altered|cut short"):
            sealed.check(path)
        path.write_bytes(data[:position])
        with pytest.raises(ValueError, match=r"is empty|cut short|altered"):
            sealed.check(path)
    path.write_bytes(data[:-50] + b"x" + data[-49:])
    with pytest.raises(DamagedStore) as caught:
        full.read_all()
    assert f"rm '{path}'" in str(caught.value) and "repeats its trials" in str(caught.value)
    path.write_bytes(b"")
    for ask in (full.ids, lambda: full.has(IDS[0]), lambda: full.read(IDS[0]), full.read_all):
        with pytest.raises(DamagedStore, match=path.name):
            ask()


def test_a_newer_segment_is_refused_by_name(full, make_record):
    newer = [make_record(trial_id, schema_version=SCHEMA_VERSION + 1) for trial_id in IDS[:2]]
    path = segments.publish(full.folder, "0" * 16, sealed.pack(rows.table_of(newer)))
    with pytest.raises(DamagedStore, match=f"version {SCHEMA_VERSION + 1}, newer than {SCHEMA_VERSION}") as caught:
        full.read_all()
    assert path.name in str(caught.value) and "update harness" in str(caught.value) and "rm " not in str(caught.value)


def test_a_harness_that_knows_no_segments_refuses_the_folder_by_name(full, monkeypatch):
    """It takes every *.parquet beside the records for one, and looks at the version before at the name."""
    compact(full)
    mark = full.folder / segments.MARKER
    assert rows.decode(mark.read_bytes())["schema_version"].to_pylist() == [2]
    monkeypatch.setattr(rows, "SCHEMA_VERSION", 1)
    assert "has schema version 2, newer than 1" in rows.read(mark) and "update harness" in rows.read(mark)


def test_who_finds_another_process_at_it_leaves_it_to_that_one(full, small, run_python):
    other = run_python(
        """
        import sys
        from pathlib import Path
        from harness.storage import files
        held = files.acquire(Path(sys.argv[1]))
        print("held", flush=True)
        sys.stdin.readline()
        """,
        str(full.benchmark_folder / ".locks" / "compact-fp"), stdin=subprocess.PIPE,
    )  # fmt: skip
    assert other.stdout.readline() == "held\n"
    assert compact(full) == 0 and len(full.loose()) == 12
    other.communicate("go\n")
    assert compact(full) == 12


@pytest.mark.slow
def test_readers_see_every_record_once_while_two_compact_and_one_writes(full, small, run_python):
    code = """
        import sys
        from harness.storage.compact import compact
        from harness.storage.store import Store
        while True:
            compact(Store(sys.argv[1], "quick", "fp"))
    """
    writer = """
        import sys
        from harness.record import Record
        from harness.storage.store import Store
        for i in range(12, 150):
            Store(sys.argv[1], "quick", "fp").write(Record(f"{i:016x}", "quick", "{}", "t", "c", i, "ok"))
        print("done", flush=True)
    """
    for _ in range(2):
        run_python(code, str(full.root))
    writing = run_python(writer, str(full.root))
    ended = threading.Event()
    threading.Thread(target=lambda: (writing.stdout.readline(), ended.set()), daemon=True).start()
    while not ended.is_set():
        before = full.ids()
        seen = [record.trial_id for record in full.read_all()]
        assert len(seen) == len(set(seen)) and set(seen) >= before
    assert full.ids() == {f"{i:016x}" for i in range(150)}


KILLED = """
    import os, signal, sys
    from harness.storage import compact as compaction
    from harness.storage import rows
    from harness.record import Record
    from harness.storage.store import Store
    compaction.AT_ONCE = 2
    records = [Record(f"{i:016x}", "quick", "{}", "", "", i, "ok", gradient_norms=[0.1] * i) for i in range(4)]
    def armed(real, left):
        def call(*args, **kwargs):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)
        return call
    moment = survived = 0
    while not survived:
        moment += 1
        store = Store(sys.argv[1], f"moment-{moment}", "fp")
        for record in records:
            store.write(record)
        child = os.fork()
        if not child:
            left = [moment]
            for name in ("open", "write", "fsync", "close", "link", "unlink", "mkdir"):
                setattr(os, name, armed(getattr(os, name), left))
            compaction.compact(store)
            os._exit(0)
        survived = os.waitpid(child, 0)[1] == 0
        for _ in range(2):  # what a kill left, and what the next compaction makes of it
            assert [repr(r) for r in store.read_all()] == [repr(r) for r in records], moment
            compaction.compact(store)
        assert store.loose() == []
    print(moment)
"""


@pytest.mark.slow
def test_killed_before_any_of_its_system_calls_it_loses_nothing_and_doubles_nothing(tmp_path, run_python):
    killed = run_python(KILLED, str(tmp_path))
    out, err = killed.communicate(timeout=200)
    assert killed.returncode == 0, err
    assert int(out) > 30


def test_a_full_disk_leaves_every_record_where_it_was(full, small, monkeypatch):
    real = os.write

    def no_space(descriptor, data):
        if len(data) > 4000:
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    before = shown(full.read_all())
    monkeypatch.setattr(os, "write", no_space)
    with pytest.raises(Exception, match="No space left"):
        compact(full)
    monkeypatch.undo()
    assert shown(full.read_all()) == before and len(full.loose()) == 12


def test_a_launcher_finds_its_records_in_order_wherever_they_are(full, small, make_record):
    from harness.launch.base import Target

    other = Store(full.root, "quick", "other-node")
    for trial_id in (IDS[0], "a" * 16):
        other.write(make_record(trial_id, fingerprint="other-node"))
    compact(full)
    target = Target(str(full.root), "quick", "fp", wandb=False, nodes=False)
    assert [r.seed for r in target.records([IDS[8], IDS[2]], {"score"})] == [8, 2]
    assert target.stored() == set(IDS)
    with pytest.raises(KeyError):
        target.records(["a" * 16])


def test_a_report_reads_no_field_that_it_shows_nowhere(tmp_path):
    """What `reads` leaves out changes no byte of any format, but for the samples, which are read again."""
    from dataclasses import MISSING, fields

    from report_records import realistic, told

    from harness.record import RAW, Record, reads

    records, trials = realistic()
    given = {"curve_tokens": [1] * 10, "curve_train_loss": [0.5] * 10, "traceback": "x", "update_seconds": [1.0] * 9}
    whole = [record.replace(**given, gradient_norms=[1.0], gradient_by_lag_by_layer=[[1.0]]) for record in records]
    assert told(whole, trials) == told(records, trials)
    assert reads() | RAW == {f.name for f in fields(Record)} and "update_seconds" in reads([object()])
    assert all(f.default_factory is not MISSING or f.default == "" for f in fields(Record) if f.name in RAW)


def test_samples_are_read_again_from_wherever_the_record_is(full, make_record):
    full.write(make_record("a" * 16, samples='[{"given": "x"}]', fingerprint="fp"))
    for _ in range(2):
        slim = next(r for r in full.read_all(record.reads()) if r.trial_id == "a" * 16)
        assert slim.samples == "" and store.samples(full.benchmark_folder)(slim) == '[{"given": "x"}]'
        assert store.samples(full.folder)(slim) == '[{"given": "x"}]', "a folder of one fingerprint works too"
        compact(full)


def test_a_contradiction_between_a_file_and_a_segment_is_flagged_and_left_out_of_the_report(results):
    from report_records import grid, told
    from report_records import record as made

    trials = grid(3, cells=("lstm",))[:3]
    here = Store(results, "quick", "test-2c-01234567")
    for trial in trials:
        here.write(made(trial))
    compact(here)
    here.path(trials[0].id).write_bytes(rows.encode(made(trials[0], score=0.123)))
    here.path(trials[1].id).write_bytes(rows.encode(made(trials[1], seconds=999.0)))
    text = told(open_folder(results / "quick", record.reads()), trials)["md"]
    assert "1 trial left out: stored twice on one machine with unlike numbers" in text and trials[0].id in text
    assert "2 of 3 trials stored" in text, "another time it took is no contradiction"
