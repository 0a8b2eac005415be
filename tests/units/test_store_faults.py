"""The store under a failing disk, a full one, and a killed writer: a whole record or none."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import time

import pytest

from harness.errors import Stopped
from harness.storage import files
from harness.storage.store import Store

ID, OTHER = "0123456789abcdef", "fedcba9876543210"
CALLS = ("open", "write", "fsync", "close", "link", "mkdir")
CAN_MOUNT = (
    shutil.which("unshare")
    and not subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False
    ).returncode
)


@pytest.fixture
def store(results):
    return Store(results, "quick", "fp")


class FaultyDisk:
    """Counts the calls that change a disk and fails the Nth, after half of the bytes where it is a write."""

    def __init__(self, monkeypatch, fail_at: int, error: int) -> None:
        self.calls, self.fail_at, self.error = 0, fail_at, error
        for name in CALLS:
            monkeypatch.setattr(os, name, self.wrap(name, getattr(os, name)))

    def wrap(self, name, real):
        def call(*args, **kwargs):
            self.calls += 1
            if self.calls == self.fail_at:
                if name == "write":
                    real(args[0], args[1][: len(args[1]) // 2])
                if name == "close":
                    real(*args)
                raise OSError(self.error, os.strerror(self.error))
            if name == "write":  # a disk may take less than it is offered
                return real(args[0], args[1][:1000])
            return real(*args, **kwargs)

        return call


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EACCES])
def test_whichever_call_fails_the_record_is_whole_or_absent(store, make_record, error):
    record, other = make_record(ID, score=0.5), make_record(OTHER)
    store.write(other)
    for fail_at in range(1, 100):
        with pytest.MonkeyPatch.context() as patch:
            disk = FaultyDisk(patch, fail_at, error)
            try:
                store.write(record)
            except Stopped as err:
                assert err.exit_code == 75
                assert os.strerror(error) in str(err) and "run the same command again" in str(err)
                assert str(store.folder) in str(err)
        assert all(not name.startswith(".tmp-") for name in os.listdir(store.folder))
        assert [r.trial_id for r in store.read_all()] == ([ID, OTHER] if store.has(ID) else [OTHER])
        if disk.calls < fail_at:
            break
        store.path(ID).unlink(missing_ok=True)
    assert fail_at > 10  # several writes, two syncs, a link: the loop has met them all
    assert store.read(ID).score == 0.5


def test_after_the_fault_the_same_write_works(store, make_record, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        FaultyDisk(patch, 5, errno.ENOSPC)
        store.write(make_record(ID))
    assert store.write(make_record(ID)) and store.read(ID).trial_id == ID


def test_a_file_system_without_hard_links_still_publishes(store, make_record, monkeypatch):
    def no_link(*_):
        raise PermissionError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", no_link)
    assert store.write(make_record(ID, score=0.1)) and not store.write(make_record(ID, score=0.2))
    assert store.read(ID).score == 0.1 and os.listdir(store.folder) == [f"{ID}.parquet"]


def test_replace_keeps_the_old_file_when_the_disk_fails(tmp_path):
    table = tmp_path / "quick.md"
    files.replace(table, b"old")
    for fail_at in range(1, 100):
        with pytest.MonkeyPatch.context() as patch:
            disk = FaultyDisk(patch, fail_at, errno.EIO)
            try:
                files.replace(table, b"new" * 1000)
            except OSError:
                assert table.read_bytes() in (b"old", b"new" * 1000)
        assert os.listdir(tmp_path) == ["quick.md"]
        if disk.calls < fail_at:
            break
        table.write_bytes(b"old")
    assert fail_at > 5 and table.read_bytes() == b"new" * 1000


FILL = """
    import os, resource, sys
    from harness.errors import Stopped
    from harness.record import Record
    from harness.storage.store import Store
    root, limit = sys.argv[1], int(sys.argv[2])
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    store = Store(root, "quick", "fp")
    def record(i, size):
        noise = [float(hash((i, j))) for j in range(size)]
        return Record(f"{i:016x}", "quick", "", "", "", i, "ok", gradient_norms=noise)
    stored = 0
    try:
        for i in range(100):
            store.write(record(i, 10 + 500 * i))
            stored += 1
    except Stopped as err:
        print(err)
    left = [name for name in os.listdir(store.folder) if name.startswith(".")]
    whole = len(store.read_all())
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    else:
        os.unlink(store.path(f"{0:016x}"))
        os.unlink(store.path(f"{1:016x}"))
    again = store.write(record(stored, 10))
    print("stored", 0 < stored < 100, "whole", whole == stored, "left", left, "again", again)
"""


@pytest.mark.parametrize("how", ["file-size-limit", *(["full-tmpfs"] if CAN_MOUNT else [])])
def test_a_full_disk_stops_the_run_and_loses_nothing(tmp_path, run_python, how):
    """The kernel itself refuses: by a limit on file sizes anywhere, by a real full disk where one can be mounted."""
    if how == "full-tmpfs":
        mount = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=200k none "$0" && exec "$@"', str(tmp_path)]
        process, reason = run_python(FILL, str(tmp_path), "0", before=mount), "No space left on device"
    else:
        process, reason = run_python(FILL, str(tmp_path), "30000"), "File too large"
    out, _ = process.communicate(timeout=120)
    assert reason in out and "then run the same command again" in out
    assert out.splitlines()[-1] == "stored True whole True left [] again True"


KILLED_AT_CALL = """
    import os, signal, sys
    from harness.record import Record
    from harness.storage.rows import encode
    from harness.storage.store import Store
    record = Record("0" * 16, "quick", "", "", "", 0, "ok", gradient_norms=[0.1] * 1000)
    encode(record)
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
        child = os.fork()
        if not child:
            left = [moment]
            for name in ("open", "write", "fsync", "close", "link", "unlink", "mkdir"):
                setattr(os, name, armed(getattr(os, name), left))
            store.write(record)
            os._exit(0)
        survived = os.waitpid(child, 0)[1] == 0
        before = store.has(record.trial_id)
        stored = store.write(record)
        assert stored is not before and repr(store.read(record.trial_id)) == repr(record), moment
    print(moment)
"""


def test_a_writer_killed_before_any_of_its_system_calls_leaves_all_or_nothing(tmp_path, run_python):
    killed = run_python(KILLED_AT_CALL, str(tmp_path))
    out, err = killed.communicate(timeout=120)
    assert killed.returncode == 0, err
    assert int(out) > 10


WRITE_ON = """
    import sys
    from harness.record import Record
    from harness.storage.store import Store
    store, i = Store(sys.argv[1], "quick", "fp"), int(sys.argv[2])
    while True:
        i += 1
        store.write(Record(f"{i:016x}", "quick", "", "", "", i, "ok", gradient_norms=[float(i)] * 3000))
        print(i, flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_whole_records(store, run_python):
    for round_ in range(6):
        writer = run_python(WRITE_ON, str(store.root), str(round_ * 100_000))
        writer.stdout.readline()
        time.sleep(0.01 + 0.037 * round_)
        writer.kill()
        writer.communicate()
    records = store.read_all()
    assert len(records) >= 6 and all(r.gradient_norms == [float(int(r.trial_id, 16))] * 3000 for r in records)
