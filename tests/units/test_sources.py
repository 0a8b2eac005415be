"""Data sets fetched over real sockets from a server that cuts, lies and breaks; and looked at again."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import resource
import signal
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harness.cli import main as cli
from harness.data import archives, fetch, sources
from harness.errors import DamagedStore, Stopped, UserError

CONTENT = os.urandom(300_000)
MEMBERS = {"in/a": b"1" * 1000, "in/b": b"2"}


def sha(data):
    return hashlib.sha256(data).hexdigest()


class Server(BaseHTTPRequestHandler):
    """Serves `body`, with ranges; `cut`: closes after so many bytes of an answer; `status`: answers with that;
    `slow`: seconds before it answers."""

    def do_GET(self):
        about = self.server
        about.asked.append(self.headers.get("Range"))
        time.sleep(about.slow)
        if about.status:
            return self.send_error(about.status)
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1]) if about.ranges else 0
        body = about.body[start:]
        if start >= len(about.body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(about.body)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(about.body) - 1}/{len(about.body)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: about.cut] if about.cut is not None else body)
        self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        running.body, running.cut, running.status, running.ranges, running.asked = CONTENT, None, 0, True, []
        running.slow = 0.0
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def place(tmp_path, monkeypatch, server):
    """A data set `thing` of one file on that server; returns where its verified copy will lie."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HARNESS_DATA_MIRROR", raising=False)
    monkeypatch.setattr(sources, "SETS", tmp_path / "sets")
    sources.find.cache_clear()
    describe(tmp_path, server)
    yield sources.cached("thing", "file")
    sources.find.cache_clear()


def describe(tmp_path, server, content=CONTENT, more=""):
    (tmp_path / "sets").mkdir(exist_ok=True)
    where = f"http://127.0.0.1:{server.server_port}/file"
    (tmp_path / "sets" / "thing.yaml").write_text(
        "{title: a thing, licence: ours, redistribute: 'True', cite: us, counts: one, files: {file: "
        f"{{sha256: {sha(content)}, bytes: {len(content)}, {more or 'url: ' + repr(where)}}}}}}}"
    )
    sources.find.cache_clear()
    return where


def left(place):
    """Names beside the place: what a failed fetch leaves."""
    return sorted(path.suffix for path in place.parent.glob("*"))


def test_what_is_fetched_is_there_and_comes_once(place, server):
    told = []
    assert fetch.fetch("thing", lambda what: lambda done, whole: told.append((what, done, whole))) == 1
    assert place.read_bytes() == sources.read("thing", "file") == CONTENT
    assert told[-1] == ("thing/file", len(CONTENT), len(CONTENT))
    assert fetch.fetch("thing") == 0
    assert len(server.asked) == 1
    assert left(place) == [""]


def test_of_three_processes_one_fetches_and_the_others_wait(place, server, tmp_path, run_python):
    server.slow = 0.3
    code = """
        import sys
        from pathlib import Path
        from harness.data import fetch, sources
        sources.SETS = Path(sys.argv[1])
        print("ready", flush=True)
        sys.stdin.readline()
        print(fetch.fetch("thing"))
    """
    processes = [run_python(code, str(tmp_path / "sets"), stdin=-1) for _ in range(3)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 3
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60) for process in processes]
    assert sorted(out for out, _ in said) == ["0\n", "0\n", "1\n"], said
    assert server.asked == [None] and place.read_bytes() == CONTENT


def test_a_packed_answer_is_unpacked(place, server):
    server.body = gzip.compress(CONTENT)
    fetch.fetch("thing")
    assert place.read_bytes() == CONTENT


def test_a_cut_download_goes_on_where_it_was(place, server):
    server.cut = 100_000
    assert fetch.fetch("thing") == 1  # three answers of a third each
    assert place.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-", "bytes=200000-"]


def test_a_cut_download_leaves_only_its_part_and_the_next_command_goes_on(place, server):
    server.cut = 10_000
    with pytest.raises(Stopped, match="30,000 bytes are kept"):
        fetch.fetch("thing")
    assert left(place) == [".part"]
    assert not sources.here("thing")
    with pytest.raises(UserError, match="not on this machine"):
        sources.read("thing", "file")
    server.cut = None
    fetch.fetch("thing")
    assert place.read_bytes() == CONTENT
    assert left(place) == [""]


def test_a_server_that_knows_no_ranges_is_read_from_the_beginning(place, server):
    server.cut = 10_000
    with pytest.raises(Stopped):
        fetch.fetch("thing")
    server.ranges, server.cut = False, None
    fetch.fetch("thing")
    assert place.read_bytes() == CONTENT


def test_a_part_of_another_version_is_dropped(place, server):
    server.body, server.cut = os.urandom(len(CONTENT)), 10_000
    with pytest.raises(Stopped):
        fetch.fetch("thing")
    server.body, server.cut = CONTENT, None
    fetch.fetch("thing")
    assert place.read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_dropped(place, server):
    fetch.files.make_folder(place.parent)
    url = sources.find("thing").files["file"].url
    (place.parent / f".{sha(url.encode())[:16]}.part").write_bytes(CONTENT + b"more")
    fetch.fetch("thing")
    assert place.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "body",
    [CONTENT[:-1] + b"x", CONTENT[:-1], CONTENT + b"x", b"<html>log in first</html>", b"", gzip.compress(CONTENT)[:-9]],
    ids=["altered", "short", "long", "a page", "nothing", "cut gzip"],
)
def test_other_content_is_refused_and_nothing_stays(place, server, body):
    server.body = body
    with pytest.raises((UserError, Stopped)) as caught:
        fetch.fetch("thing")
    assert sha(CONTENT) in str(caught.value) or not body
    assert left(place) == []


@pytest.mark.parametrize(
    ("wrong", "code", "words"),
    [
        ({"body": CONTENT[:-1] + b"x"}, 2, "the server would send the other again"),
        ({"cut": 10_000}, 75, "bytes are kept"),
    ],
)
def test_each_way_in_which_data_are_not_had_has_its_exit_code(place, server, capsys, wrong, code, words):
    """2: the same command would end so again; 75: it goes on. Damaged copies, 6, are below."""
    vars(server).update(wrong)
    assert cli.main(["data", "fetch", "thing"]) == code and words in capsys.readouterr().err


def test_a_bomb_is_not_unpacked(place, server):
    server.body = gzip.compress(bytes(50_000_000))
    with pytest.raises(UserError, match="not the content that is known"):
        fetch.fetch("thing")
    assert left(place) == []


@pytest.mark.parametrize(("status", "error"), [(404, UserError), (403, UserError), (500, Stopped), (503, Stopped)])
def test_a_server_error_is_one_clear_error(place, server, status, error):
    server.status = status
    with pytest.raises(error, match=str(status)) as caught:
        fetch.fetch("thing")
    assert "HARNESS_DATA_MIRROR" in str(caught.value)
    assert left(place) == []


def test_without_a_network_it_says_so(place, tmp_path, server, capsys):
    describe(tmp_path, server, more="url: 'http://127.0.0.1:9/file'")
    assert cli.main(["data", "fetch", "thing"]) == 75
    said = capsys.readouterr()
    assert "licence: ours" in said.out
    assert "cannot download http://127.0.0.1:9/file" in said.err and "refused" in said.err


def test_a_full_disk_leaves_a_part_at_most_and_says_what_to_do(place, run_python):
    """Under a limit on the size of files, which fails a write as a full disk does."""
    code = """
        import resource, signal, sys
        from pathlib import Path
        from harness.data import fetch, sources
        from harness.errors import Stopped
        sources.SETS = Path(sys.argv[1])
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            fetch.fetch("thing")
        except Stopped as error:
            print(error)
    """
    out, err = run_python(code, str(sources.SETS)).communicate(timeout=60)
    assert "cannot write the download" in out and "run the same command again" in out, err
    assert set(left(place)) <= {".part"}
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100_000 and signal.getsignal(signal.SIGXFSZ)


def canonical(members=MEMBERS):
    """An archive as a project publishes it: everything below a folder of its own, with files that nobody wants."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in {"README": b"?", **members}.items():
            file.writestr(f"thing-1.0/{name}", content)
    return out.getvalue()


def of_members(tmp_path, server, found=MEMBERS):
    """`file` is an archive of these members, known by what it holds."""
    where = describe(tmp_path, server)
    more = (
        f"archive: {where!r}, keep: '[^/]+/(in/.*)', members: {len(found)}, members_bytes: "
        f"{sum(map(len, found.values()))}, members_digest_sha256: {archives.digest(found)}"
    )
    describe(tmp_path, server, b"other bytes", more)


def test_an_archive_is_known_by_what_it_holds(place, tmp_path, server):
    of_members(tmp_path, server)
    server.body = canonical()
    fetch.fetch("thing")
    assert archives.members(sources.read("thing", "file")) == MEMBERS
    assert fetch.verify("thing") == []


@pytest.mark.parametrize(
    "members",
    [{**MEMBERS, "in/b": b"3"}, {**MEMBERS, "in/c": b""}, {"in/a": MEMBERS["in/a"]}, {**MEMBERS, "../x": b""}],
)
def test_an_archive_that_holds_something_else_is_refused(place, tmp_path, server, members):
    of_members(tmp_path, server)
    server.body = canonical(members)
    with pytest.raises(UserError):
        fetch.fetch("thing")
    assert left(place) == []


def test_a_file_inside_an_archive_is_taken_out(place, tmp_path, server):
    where = describe(tmp_path, server)
    describe(tmp_path, server, MEMBERS["in/a"], f"archive: {where!r}, keep: '[^/]+/(in/a)'")
    server.body = canonical()
    fetch.fetch("thing")
    assert sources.read("thing", "file") == MEMBERS["in/a"]


def test_what_no_url_serves_says_how_to_get_it(place, tmp_path, server):
    describe(tmp_path, server, more="comes_from: 'http://x/made.pkl', mirror: file.gz")
    with pytest.raises(UserError) as caught:
        fetch.fetch("thing")
    for part in ("made.pkl", "HARNESS_DATA_MIRROR", "thing/file.gz", sha(CONTENT)):
        assert part in str(caught.value)


def test_a_mirror_serves_without_a_network_and_is_checked(place, tmp_path, server, monkeypatch):
    monkeypatch.setenv("HARNESS_DATA_MIRROR", str(tmp_path / "mirror"))
    (tmp_path / "mirror" / "thing").mkdir(parents=True)
    copy = tmp_path / "mirror" / "thing" / "file"
    copy.write_bytes(CONTENT[:-1])
    with pytest.raises(DamagedStore, match="not the content that is known"):
        sources.read("thing", "file")
    assert not place.exists()
    with pytest.raises(DamagedStore, match="in the mirror"):
        fetch.verified(["thing"])
    assert [cli.main(["data", *words]) for words in (["fetch", "thing"], ["fetch", "--all"], ["verify"])] == [6, 6, 6]
    copy.write_bytes(CONTENT)
    assert fetch.fetch("thing") == 1
    assert sources.read("thing", "file") == CONTENT
    assert server.asked == []


def test_damage_in_the_cache_is_found_named_and_mended(place, capsys):
    fetch.fetch("thing")
    assert cli.main(["data", "verify", "thing"]) == 0
    place.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(DamagedStore, match="harness data fetch thing"):
        sources.read("thing", "file")
    assert cli.main(["data", "verify"]) == 6
    assert str(place) in capsys.readouterr().err
    assert cli.main(["data", "fetch", "thing"]) == 0
    assert cli.main(["data", "verify", "thing"]) == 0


def test_all_of_them_are_fetched_though_one_fails(place, tmp_path, server, capsys):
    (tmp_path / "sets" / "bad.yaml").write_text(
        (tmp_path / "sets" / "thing.yaml").read_text().replace("/file'", "/file'").replace(sha(CONTENT), sha(b"other"))
    )
    assert cli.main(["data", "fetch", "--all"]) == 2
    assert place.read_bytes() == CONTENT
    assert "not the content that is known" in capsys.readouterr().err
    assert cli.main(["data", "list"]) == 0
    rows = {line.split()[0]: line.split()[1] for line in capsys.readouterr().out.splitlines()}
    assert (rows["thing"], rows["bad"]) == ("yes", "no")


def test_every_real_set_states_all_that_a_user_must_know():
    for name in sources.names():
        about = sources.find(name)
        assert about.licence and about.cite and about.redistribute
        for file, one in about.files.items():
            assert len(one.sha256) == 64 and one.bytes > 0, file
            assert one.url or one.archive or one.comes_from, f"{name}/{file}: where from?"
            assert all(
                url.startswith(("http://", "https://")) and " " not in url for url in (one.url, one.archive) if url
            )
            assert bool(one.keep) == bool(one.archive)


def test_list_says_of_one_set_all_that_is_known_and_names_the_nearest_of_another(capsys):
    assert cli.main(["data", "list", "ptb"]) == 0
    said, about = capsys.readouterr().out, sources.find("ptb")
    for file, one in about.files.items():
        assert file in said and one.sha256 in said and one.url in said and f"{one.bytes:,} bytes" in said
    assert about.licence in said and about.cite in said and "autocomplete" in said
    assert cli.main(["data", "list", "ptbb"]) == 2
    assert "did you mean 'ptb'?" in capsys.readouterr().err


@pytest.mark.data
def test_the_mirror_is_what_is_known():
    assert fetch.verified(sources.names()) == len(sources.names())
