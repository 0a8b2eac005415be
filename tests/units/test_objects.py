"""Results in an object store: the laws of a folder, over real HTTP against a server that speaks S3."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
import time

import pytest
import s3_server
import torch

from harness.cli import main as cli
from harness.errors import DamagedStore, Stopped, UserError
from harness.launch import attached
from harness.stop import Stop
from harness.storage import files, lease, objects
from harness.storage.objects import ObjectPath, place
from harness.storage.store import Store, find, open_folder
from harness.training.checkpoint import Checkpoints

ID = "0123456789abcdef"


@pytest.fixture(scope="module")
def server():
    with s3_server.serving() as address:
        s3_server.make("bucket", address)
        yield address


@pytest.fixture
def root(server, monkeypatch) -> ObjectPath:
    """A place of its own, with credentials in the environment."""
    for name, value in s3_server.PLAIN.items():
        monkeypatch.setenv(name, value)
    objects._system.cache_clear()
    return place(f"s3://bucket/{secrets.token_hex(4)}?endpoint_override={server}&scheme=http")


def test_a_record_is_stored_once_and_read_from_there(root, make_record):
    store = Store(root, "quick", "here")
    assert store.ids() == set() and not store.has(ID)
    assert store.write(make_record(score=0.5)) and not store.write(make_record(score=0.75))
    assert store.ids() == {ID} and store.read(ID).score == 0.5
    assert [record.trial_id for record in open_folder(root / "quick")] == [ID]
    assert [path.name for path in find(root, ID[:4])] == [f"{ID}.parquet"]
    store.check_writable()
    assert files.names(store.folder) == [f"{ID}.parquet"], "nothing else is left there"


def test_a_record_that_was_altered_is_named(root, make_record):
    store = Store(root, "quick", "here")
    store.write(make_record())
    path = store.path(ID)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedStore, match=str(path.name)):
        store.read_all()


def test_checkpoints_lie_there_and_the_one_before_stays_until_the_next_is_proven(root):
    folder = Store(root, "quick", "here").checkpoint_folder(ID)
    first, bound = Checkpoints(folder, ID), {"data": "a"}
    assert first.read(bound) is None
    for update in (1, 2, 3):
        first.write({"weights": torch.full((3,), update)}, update, 1, bound)
    assert len(files.names(folder)) == 3, "the manifest and two"
    found = Checkpoints(folder, ID).read(bound)
    assert found is not None and found.state["weights"].tolist() == [3, 3, 3] and found.attempt == 2
    (folder / max(name for name in files.names(folder) if name != "manifest.json")).write_bytes(b"PK")
    found = Checkpoints(folder, ID).read(bound)
    assert found is not None and found.state["weights"].tolist() == [2, 2, 2]
    assert Checkpoints(folder, ID).read({"data": "other"}) is None
    last = Checkpoints(folder, ID)
    assert files.names(last.aside) and not files.names(folder)
    last.remove()
    assert not files.names(last.aside)


def test_a_request_to_stop_reaches_other_machines(root, monkeypatch):
    monkeypatch.setattr("harness.stop.LOOK", 0.0)
    asking, elsewhere = (Stop(str(root / "quick" / ".stop" / "asked"), heeded) for heeded in (True, False))
    assert not elsewhere.asked and asking.ask() and elsewhere.asked and not asking.ask()
    asking.withdraw()
    assert not files.names(root / "quick" / ".stop")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("s4://bucket/x", "cannot lie at s4://bucket/x"),
        ("https://bucket/x", "cannot lie"),
        ("s3://", "not a bucket"),
        ("s3://bucket/../x", "not a bucket"),
        ("s3://canary:canary@bucket/x", "credentials do not belong"),
        ("s3://bucket/x?secret_key=canary", "no setting 'secret_key'"),
        ("gs://bucket/x?region=here", "no setting 'region'"),
    ],
)
def test_addresses_that_are_none_are_refused_and_no_secret_repeated(text, what):
    with pytest.raises(UserError, match=what) as refused:
        place(text)
    assert "canary" not in str(refused.value)


VERBS = ("run", "report", "show", "sample")
FAULTS = [(verb, fault) for verb in VERBS for fault in ("silent", "no bucket", "no key", "wrong key")]
FAULTS.remove(("show", "no key"))  # moto lists to everyone


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "fault"), FAULTS)
def test_what_is_wrong_with_the_store_is_said_once_before_anything_runs(
    verb, fault, root, make_record, tmp_path, monkeypatch, capfd
):
    Store(root, "b", "here").write(make_record())
    (tmp_path / "b.yaml").write_text("question: q\nseeds: 1\nsweep: [{task: adding, cell: elman, examples: 8}]\n")
    monkeypatch.chdir(tmp_path)
    address = {"silent": "s3://bucket/x?endpoint_override=127.0.0.1:9&scheme=http"}.get(fault, str(root))
    if fault == "no bucket":
        address = address.replace("bucket", "elsewhere", 1)
    if fault == "no key":
        for name in s3_server.KEYS:
            monkeypatch.delenv(name)
    if fault == "wrong key":
        monkeypatch.setattr("moto.core.responses.ActionAuthenticatorMixin.request_count", 0)
        monkeypatch.setattr("moto.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0)
    words = {"sample": ["0123"], "report": ["b.yaml"], "show": ["b.yaml"], "run": ["b.yaml", "--on", "inline"]}[verb]
    begin = time.monotonic()
    assert cli.main([verb, *words, "--results", address]) == 2
    said = capfd.readouterr().err
    meant = {"silent": "does not answer", "no bucket": "no such bucket"}.get(fault, "access is denied")
    assert meant in said and said.count("error:") == 1, said
    assert "canary" not in said and time.monotonic() - begin < 20


def test_a_store_that_falls_silent_while_a_trial_is_stored_stops_the_run(make_record, monkeypatch):
    for name, value in s3_server.PLAIN.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Stopped, match="does not answer"):
        Store(place("s3://bucket/x?endpoint_override=127.0.0.1:9&scheme=http"), "quick", "here").write(make_record())


def test_a_node_without_access_is_told_from_one_that_sees_the_store(root, monkeypatch):
    marker = root / ".seen"
    marker.write_bytes(b"seen")
    assert attached._tell(str(marker), gpus=False)["shared"] == ""
    for name in s3_server.KEYS:
        monkeypatch.delenv(name)
    objects._system.cache_clear()
    assert attached._tell(str(marker), gpus=False)["shared"] == "access is denied"


@pytest.fixture
def hurried(monkeypatch):
    """The same leases, a tenth as long."""
    for name in ("LEASE", "BEAT", "POLL"):
        monkeypatch.setattr(lease, name, getattr(lease, name) / 10)


def test_of_many_at_once_one_holds_a_claim(root, hurried):
    claim, inside, most, done = root / ".locks" / ID, [], [], []

    def work() -> None:
        held = files.acquire(claim)
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.05)
        inside.pop()
        files.release(claim, held)
        done.append(1)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(done) == 6 and max(most) == 1
    assert not files.names(claim.parent), "nothing is left"


def test_who_waits_is_told_by_whom_and_gives_up_in_time(root, hurried):
    claim, waited = root / ".locks" / ID, []
    held = files.acquire(claim)
    time.sleep(1.5 * lease.LEASE)  # renewed meanwhile
    with pytest.raises(TimeoutError, match=f"process {os.getpid()} on "):
        files.acquire(claim, 0.5, waited.append)
    assert waited
    files.release(claim, held)
    files.release(claim, files.acquire(claim, 0.5))


def test_a_claim_of_a_killed_process_lapses(root, hurried):
    claim = root / ".locks" / ID
    code = "import sys, time; from harness.storage import files; from harness.storage.objects import place\n"
    code += "files.acquire(place(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, str(claim)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        holder.kill()
    begin = time.monotonic()
    files.release(claim, files.acquire(claim, 10 * lease.LEASE))
    assert 0.9 * lease.LEASE < time.monotonic() - begin < 3 * lease.LEASE
    assert not files.names(claim.parent)
