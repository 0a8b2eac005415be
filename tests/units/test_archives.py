"""Archives: what is inside comes out, and nothing of a hostile one does."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import tracemalloc
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data import archives, sources
from harness.errors import UserError

GOOD = {"a/1.wav": b"one", "a/2.wav": b"", "b.txt": b"three" * 1000}


def zipped(found, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, content in found:
            file.writestr(name, content)
    return out.getvalue()


def tarred(found, mode="w:gz", **about):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as file:
        for name, content in found:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in about.items():
                setattr(info, key, value)
            file.addfile(info, io.BytesIO(content))
    return out.getvalue()


PACKERS = {"zip": zipped, "tar": lambda found: tarred(found, "w"), "tar.gz": tarred}
pytestmark = pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")


@pytest.fixture(params=PACKERS)
def pack(request):
    return PACKERS[request.param]


def refused(archive, **options):
    with pytest.raises(UserError) as caught:
        archives.members(archive, where="thing.zip", **options)
    assert all(fault.where == "thing.zip" for fault in caught.value.faults)
    return str(caught.value)


def test_members_come_out_as_they_went_in(pack, tmp_path):
    archive = pack(reversed(GOOD.items()))
    assert list(archives.members(archive).items()) == sorted(GOOD.items())
    (tmp_path / "x").write_bytes(archive)
    assert archives.members(tmp_path / "x") == GOOD
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_folders_of_an_archive_are_no_members():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.mkdir("a")
        file.writestr("a/x", b"1")
    assert archives.members(out.getvalue()) == {"a/x": b"1"}
    with_folder = io.BytesIO()
    with tarfile.open(fileobj=with_folder, mode="w") as file:
        folder = tarfile.TarInfo("a")
        folder.type = tarfile.DIRTYPE
        file.addfile(folder)
    assert "no file in it" in refused(with_folder.getvalue())


def test_keep_chooses_and_renames(pack):
    got = archives.members(pack(GOOD.items()), keep=lambda name: name[2:] if name.startswith("a/") else None)
    assert got == {"1.wav": b"one", "2.wav": b""}
    assert "two members would be 'x'" in refused(pack(GOOD.items()), keep=lambda name: "x")


@pytest.mark.parametrize(
    "name", ["../up", "a/../../up", "/etc/passwd", "C:/windows", "a\\..\\b", "a\nb", "\x1b[31mred"]
)
def test_a_name_that_is_no_path_below_is_refused_with_all_others(pack, name):
    said = refused(pack([("fine", b"1"), (name, b"2"), ("../other", b"3")]))
    assert repr(name) in said
    assert "'../other'" in said
    assert "'fine'" not in said


def test_a_name_of_nothing_is_refused():
    """zipfile cuts a name at its first zero byte."""
    said = refused(zipped([("fine", b"1"), ("Qx", b"2")]).replace(b"Qx", b"\0x"))
    assert "member '' is no name that can be printed" in said


def test_a_name_that_comes_twice_is_refused(pack):
    assert "comes twice" in refused(pack([("a", b"1"), ("a", b"2")]))
    assert "comes twice" in refused(pack([("a/b", b"1"), ("a//b", b"2")]))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(kind):
    assert "a link, a device" in refused(tarred([("x", b"")], type=kind, linkname="/etc/passwd"))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_a_link_or_a_device_in_a_zip_is_refused(kind):
    info = zipfile.ZipInfo("x")
    info.external_attr = (kind | 0o777) << 16
    assert "a link" in refused(zipped([(info, b"/etc/passwd")]))


def test_more_members_or_bytes_than_allowed_are_refused(pack):
    many = [(f"{i}", b"x" * 10) for i in range(11)]
    assert "more than 10 members" in refused(pack(many), most_members=10)
    assert "unpacks to 110 bytes" in refused(pack(many), most_bytes=109)
    assert len(archives.members(pack(many), most_bytes=110, most_members=11)) == 11


def test_a_bomb_costs_no_memory():
    bomb = gzip.compress(bytes(200 << 20), 1)
    tar = tarred([("x", bytes(64 << 20))])
    zip_ = zipped([("x", bytes(64 << 20))])
    tracemalloc.start()
    for archive in (bomb, tar, zip_):
        assert refused(archive, most_bytes=1 << 20, most_members=10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


def test_a_zip_that_states_less_than_it_holds_gives_nothing():
    archive = bytearray(zipped([("x", bytes(1000))]))
    for start in (archive.find(b"PK\x03\x04") + 22, archive.find(b"PK\x01\x02") + 24):
        archive[start : start + 4] = (10).to_bytes(4, "little")
    assert "damaged" in refused(bytes(archive))


@given(cut=st.floats(0, 1, exclude_max=True), kind=st.sampled_from(["zip", "tar.gz", "tar"]))
def test_a_cut_archive_is_never_read_as_a_shorter_one(cut, kind):
    content = [(f"{i}", os.urandom(100)) for i in range(20)]
    archive = PACKERS[kind](content)
    try:
        found = archives.members(archive[: int(cut * len(archive))])
    except UserError:
        return
    assert kind == "tar"  # cut in the zeros behind its end, of which it may have any number
    assert found == dict(content)


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_ends_in_an_error_of_ours_or_in_no_harm(place, bit):
    """Never another exception; a flip may also fall where nothing is said, as in a date."""
    archive = bytearray(zipped(GOOD.items()))
    archive[int(place * len(archive))] ^= 1 << bit
    try:
        found = archives.members(bytes(archive))
    except UserError:
        return
    assert set(found.values()) <= set(GOOD.values())


def test_the_digest_is_of_members_not_of_how_they_are_packed(pack):
    assert archives.digest(archives.members(pack(GOOD.items()))) == archives.digest(GOOD)
    for changed in ({**GOOD, "a/2.wav": b"x"}, {**GOOD, "new": b""}, {"b.txt": GOOD["b.txt"]}):
        assert archives.digest(changed) != archives.digest(GOOD)


def test_packing_depends_on_nothing_else():
    assert archives.pack(GOOD) == archives.pack(dict(reversed(GOOD.items())))
    assert archives.members(archives.pack(GOOD)) == GOOD


@pytest.mark.data
def test_the_digests_that_are_known_are_those_of_the_files():
    known = [(name, file) for name in sources.names() for file in sources.find(name).files]
    known = [(n, f) for n, f in known if sources.find(n).files[f].members_digest_sha256]
    assert len(known) >= 4
    for name, file in known:
        about, found = sources.find(name).files[file], archives.members(sources.path(name, file))
        assert archives.digest(found) == about.members_digest_sha256
        assert (len(found), sum(map(len, found.values()))) == (about.members, about.members_bytes)
