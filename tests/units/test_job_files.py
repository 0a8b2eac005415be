"""What a cluster's file may say, what may be uploaded, what is refused before anything is sent; and the doctor."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from harness import machine, spec
from harness.cli import main as cli
from harness.errors import UserError
from harness.jobs import client, cluster, doctor, upload
from harness.launch import attached
from harness.launch.base import Target, execute
from harness.storage.store import Store

ROOT = Path(__file__).parents[2]
SERIES = """
question: Does it go?
seeds: 1
set: {cell: elman, tokens: 100, bptt_length: 8}
sweep:
  - task: {name: autocomplete, data: DATA}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    return tmp_path


def written(text: str) -> cluster.Cluster:
    Path("c.yaml").write_text(text)
    return cluster.read("c.yaml")


SOUND = "dashboard: http://127.0.0.1:8265\nresults: /shared/results\n"


def test_a_cluster_file_is_read(here):
    found = written(SOUND + "node: {cpus: 4}\n")
    assert found.loopback and found.results == "/shared/results" and found.variables == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("dashboard: http://127.0.0.1:8265\n", "results: Field required"),
        (SOUND + "tokn: none\n", "did you mean 'token'?"),
        (SOUND + "token: abc123\n", "token"),
        ("dashboard: ftp://x\nresults: /r\n", "not the URL of a dashboard"),
        ("dashboard: http://u:pw@x:8265\nresults: /r\n", "a URL with a user"),
        ("dashboard: http://127.0.0.1:8265\nresults: results\n", "not an absolute path"),
        ("dashboard: http://127.0.0.1:8265\nresults: /r/../etc\n", "not an absolute path"),
        (SOUND + "fetch: [rsync]\n", "{from}"),
        (SOUND + "node: {cpus: 0}\n", "node.cpus"),
        ("- 1\n", "not a cluster"),
    ],
)
def test_a_cluster_file_that_is_wrong_says_where(here, text, says):
    with pytest.raises(UserError) as caught:
        written(text)
    assert says in str(caught.value) and "c.yaml:" in str(caught.value)
    assert "pw" not in str(caught.value) and "abc123" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://localhost:8265", True),
        ("http://[::1]:8265", True),
        ("http://127.0.0.2:8265", True),
        ("http://0.0.0.0:8265", False),
        ("http://[::]:8265", False),
        ("http://10.0.0.7:8265", False),
        ("https://h", False),
    ],
)
def test_what_is_loopback(here, url, loopback):
    assert written(f"dashboard: {url}\nresults: /r\n").loopback is loopback


def test_a_foreign_dashboard_without_a_token_needs_saying_twice(here, monkeypatch):
    monkeypatch.setenv("HOME", str(here))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    far = "dashboard: http://0.0.0.0:8265\nresults: /r\n"
    for text, said in ((far, False), (far, True), (far + "token: none\n", False)):
        with pytest.raises(UserError, match="there is no token"):
            client.refuse(written(text), said)
    client.refuse(written(far + "token: none\n"), True)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "x")
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    client.refuse(written(far), False)
    monkeypatch.setenv("RAY_ADDRESS", "http://elsewhere:8265")  # Ray's client would go there
    with pytest.raises(UserError, match="unset RAY_ADDRESS"):
        client.refuse(written(SOUND), False)


def collected(data: str) -> upload.Upload:
    Path("b.yaml").write_text(SERIES.replace("DATA", data))
    return upload.collect(spec.load("b.yaml"))


def test_every_file_of_the_package_goes():
    tracked = subprocess.run(["git", "ls-files", "harness"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(tracked.stdout.split()) <= upload.package()[0].keys()


def test_own_data_go_and_their_neighbours_stay(here):
    (here / "mine").mkdir()
    (here / "mine" / "a.txt").write_text("some text to learn\n" * 50)
    (here / "theirs.txt").write_text("not named\n")
    files = collected("mine/a.txt").files
    assert {"mine/a.txt", "b.yaml"} == {name for name in files if not name.startswith("harness/")}


@pytest.mark.parametrize("name", [".env", "id_rsa", "x.pem", ".git/config", "wandb/log.txt", "key.txt"])
def test_a_secret_among_own_data_is_refused_by_name(here, name):
    (here / "mine").mkdir()
    (here / "mine" / "a.txt").write_text("some text to learn\n" * 50)
    (here / "mine" / name).parent.mkdir(exist_ok=True)
    (here / "mine" / name).write_text("-----BEGIN RSA PRIVATE KEY-----\n" * 20)
    with pytest.raises(UserError, match="must not leave this machine"):
        collected("mine")


def test_a_link_that_leads_out_is_refused(here, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "secret.txt"
    out.write_text("some text to learn\n" * 50)
    (here / "mine").mkdir()
    (here / "mine" / "a.txt").symlink_to(out)
    with pytest.raises(UserError, match="a link that leads out"):
        collected("mine/a.txt")
    with pytest.raises(UserError, match="leads out of this folder"):
        collected(
            f"../{out.parent.name}/secret.txt" if (here.parent / out.parent.name).exists() else "../x/" + out.name
        )


def test_data_on_shared_storage_are_not_uploaded(here, tmp_path_factory):
    far = tmp_path_factory.mktemp("far") / "a.txt"
    far.write_text("some text to learn\n" * 50)
    found = collected(str(far))
    assert not [name for name in found.files if "a.txt" in name]
    assert upload.shared_data(spec.load("b.yaml")) == [str(far)]


def test_more_than_may_go_is_refused_before_anything_does(here, monkeypatch):
    (here / "a.txt").write_text("some text to learn\n" * 50)
    size = collected("a.txt").size
    monkeypatch.setattr(upload, "MOST_BYTES", size)
    assert collected("a.txt").size == size
    (here / "a.txt").write_text("some text to learn\n" * 51)
    with pytest.raises(UserError, match=r"the upload has .* MiB, more than (?s:.*)copy the data to storage that every"):
        collected("a.txt")


def test_links_and_keys_in_the_package_are_left_out(tmp_path):
    (tmp_path / "a.py").write_text("")
    (tmp_path / "b.py").symlink_to("/etc/passwd")
    (tmp_path / "credentials.yaml").write_text("")
    (tmp_path / ".env").write_text("")
    (tmp_path / "id_rsa").write_text("")
    (tmp_path / "out").symlink_to("/etc")
    files, left_out = upload.package(tmp_path)
    assert files.keys() == {"harness/a.py", "harness/COMMIT"}
    assert [line.partition(" ")[0] for line in left_out] == ["harness/b.py", "harness/credentials.yaml", "harness/out"]


def test_run_on_a_cluster_outside_a_job_says_how(here, monkeypatch, capsys):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    Path("b.yaml").write_text(SERIES.replace("autocomplete, data: DATA", "adding, length: 16"))
    assert cli.main(["run", "b.yaml", "--on", "cluster"]) == 2
    assert "harness submit FILE" in capsys.readouterr().err


BARE = {"cpus": 2.0, "gpus": 0.0, "blind": ""}


def test_a_node_that_does_not_suit_is_named_before_anything_runs():
    ours = attached.versions()
    told = [
        {"node": "10.0.0.1", **BARE, "versions": ours, "shared": ""},
        {"node": "10.0.0.2", **BARE, "versions": ours | {"torch": "0.1.0"}, "shared": "it does not see"},
        {"node": "10.0.0.3", **BARE, "silent": "it did not answer"},
        {"node": "10.0.0.4", **BARE, "cpus": 0.0, "silent": "too small to matter"},
    ]
    with pytest.raises(UserError) as caught:
        attached.check(told, 1)
    said = str(caught.value)
    assert all(word in said for word in ("10.0.0.2: torch 0.1.0", "not shared", "10.0.0.3: it did not answer"))
    assert "10.0.0.1" not in said and "10.0.0.4" not in said
    attached.check(told[:1], 1)
    assert [line.partition(",")[0] for line in attached.lines(told)][1] == "node 10.0.0.2: 2 CPUs"
    assert "torch 0.1.0" in list(attached.lines(told))[1] and "did not answer" in list(attached.lines(told))[2]


def test_the_doctor_looks_here(here, capsys, monkeypatch):
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(here))
    cli.main(["doctor"])
    out = capsys.readouterr().out
    assert "ok       ray: " in out and "ok       token: none" in out
    (here / ".ray").mkdir()
    (here / ".ray" / "auth_token").write_text("s3cret")
    (here / ".ray" / "auth_token").chmod(0o644)
    assert cli.main(["doctor"]) == 2
    out = capsys.readouterr().out
    assert "MISSING  token" in out and "chmod 600" in out and "s3cret" not in out


@pytest.mark.parametrize(
    ("url", "sound"), [("http://10.0.0.7:8265", False), ("https://10.0.0.7", True), ("http://127.0.0.1:8265", True)]
)
def test_the_doctor_sees_a_token_that_others_can_read(here, monkeypatch, url, sound):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "t0ken")
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    found = doctor.auth(written(f"dashboard: {url}\nresults: /r\n"))
    assert found.sound is sound and "with a token" in found.found and "t0ken" not in str(found)
    assert bool(client.exposed(written(f"dashboard: {url}\nresults: /r\n"))) is not sound


@pytest.mark.parametrize("mode", [None, "disabled"])
@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.7"])
def test_the_doctor_warns_of_a_foreign_dashboard_without_a_token(here, capsys, monkeypatch, mode, host):
    """Nothing is asked of it. A token that Ray is told to keep to itself is none."""
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_TOKEN", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(here))
    if mode:
        monkeypatch.setenv("RAY_AUTH_TOKEN", "t0ken")
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    written(f"dashboard: http://{host}:8265\nresults: /r\n")
    assert cli.main(["doctor", "--on", "c.yaml"]) == 2
    out = capsys.readouterr().out
    assert f"MISSING  dashboard: http://{host}:8265 is not on this machine and there is no token" in out
    assert "export RAY_AUTH_TOKEN_PATH=FILE" in out and "t0ken" not in out


def test_the_doctor_names_what_is_missing_on_the_way(here, capsys, monkeypatch):
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    Path("c.yaml").write_text("dashboard: http://127.0.0.1:9\nresults: /r\n")
    assert cli.main(["doctor", "--on", "c.yaml"]) == 2
    assert "MISSING  dashboard: no answer at http://127.0.0.1:9" in capsys.readouterr().out


def test_on_a_cluster_the_records_of_every_kind_of_node_count(tmp_path, make_record):
    """A head that runs nothing must not take the trials of its workers for missing ones."""
    worker = Store(tmp_path, "go", "worker-16c-00000000")
    worker.write(make_record(benchmark="go"))
    (tmp_path / "go" / "logs").mkdir()
    here = Target(str(tmp_path), "go", machine.fingerprint(), wandb=False)
    there = replace(here, nodes=True)
    assert not here.stored() and here.holding("0123456789abcdef") is None
    assert there.stored() == {"0123456789abcdef"}
    assert there.holding("0123456789abcdef").folder == worker.folder
    assert there.store().folder.name == machine.fingerprint()


def test_a_node_without_the_shared_folder_runs_nothing(tmp_path):
    text = SERIES.replace("autocomplete, data: DATA", "adding, length: 16")
    (tmp_path / "b.yaml").write_text(text)
    (trial,) = spec.load(tmp_path / "b.yaml").trials
    target = Target(str(tmp_path), "b", machine.fingerprint(), False, nodes=True, shared=str(tmp_path / "gone"))
    with pytest.raises(UserError, match="does not see the results folder"):
        execute(trial, target)
