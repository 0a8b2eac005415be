"""Strict YAML: what is read, what is refused, where it stands, and that nothing in a file can cost time or run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harness.config import yamlfile
from harness.errors import UserError


def faults(text: str | bytes, tmp_path: Path) -> list[str]:
    """Return the faults of a file with this content, as lines of one fault each."""
    path = tmp_path / "x.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    try:
        found = yamlfile.read(path).faults  # of values: the rest of the file could be read
    except UserError as error:
        found = error.faults
    assert found
    return [str(fault).replace(f"{path}", "x.yaml").replace("\n", " |") for fault in found]


WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20).filter(
    lambda text: not text[:2].strip("+-").isdigit()  # PyYAML writes the text 1e3 without quotes
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdef", min_size=1), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(PLAIN)
def test_what_yaml_writes_is_read_back(data):
    text = yaml.safe_dump(data, default_flow_style=True, sort_keys=False)
    assert yamlfile.parse(text, "x").data == data


@pytest.mark.parametrize(
    ("text", "value"),
    [("no", "no"), ("on", "on"), ("12:30", "12:30"), ("2024-01-01", "2024-01-01"), ("1.0e-3", 0.001), ("~", None),
     ("", None), ("True", True), (".5", 0.5), ("-7", -7), ("'1e-3'", "1e-3"), ("0", 0), ("1e", "1e")],
)  # fmt: skip
def test_a_scalar_means_what_it_looks_like(text, value):
    found = yamlfile.parse(f"key: {text}", "x").data["key"]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("1e-3", "1.0e-3"),
        ("1e3", "1.0e+3"),
        ("2.5e3", "2.5e+3"),
        ("010", "10,"),
        ("1_000", "1000,"),
        ("0x10", "'0x10'"),
    ],
)
def test_what_only_some_readers_take_for_a_number_is_refused(tmp_path, text, remedy):
    (fault,) = faults(f"a: 1\nrate: {text}\n", tmp_path)
    assert fault.startswith(f"x.yaml:2: rate: {text} is text, or another number") and f"try: {remedy}" in fault


@pytest.mark.parametrize("text", [".inf", "-.inf", ".nan", "1.0e+999", "9" * 5000])
def test_a_number_without_a_finite_value_is_refused(tmp_path, text):
    (fault,) = faults(f"a: {text}", tmp_path)
    assert fault.startswith("x.yaml:1: a: ") and len(fault) < 200


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("a: !!python/object/apply:os.system [x]", "1: a", "tags are not read"),
        ("a: 1\nb: !secret x", "2: b", "tag !secret"),
        ("a: 1\nb: 2\na: 3", "3: a", "duplicate key: it stands on line 1 already"),
        ("a: {b: 1,\n b: 2}", "2: a.b", "duplicate key"),
        ("a: &x 1", "1: a", "anchor &x"),
        ("a:\n- *x", "2: a[0]", "alias *x"),
        ("1: x", "1", "a key must be text, not 1"),
        ("null: x", "1", "a key must be text, not null"),
        ("? [a]\n: x", "1", "a key must be text, not ['a']"),
        ("a: 1\n---\nb: 1", "2", "a second document"),
        ("a: b: c", "1", "(column 5)"),
        ("a: [1, 2", "1", "not valid YAML"),
        ("\ta: 1", "1", "spaces; YAML allows no tabs"),
        ("a: 'x", "1", "not valid YAML"),
        ("a\x07: 1", "1", "U+0007"),
        (b"a: 1\nb: \xff", "2", "not UTF-8"),
        ("a: 1".encode("utf-16"), "1", "not UTF-8"),
        (b"a: 1\nb: \0", "2", "NUL"),
    ],
)
def test_each_thing_that_is_refused_names_its_place(tmp_path, text, where, what):
    (fault,) = faults(text, tmp_path)
    assert fault.startswith(f"x.yaml:{where}: ") and what in fault


def test_all_faults_of_a_file_come_at_once(tmp_path):
    found = faults("a: 1e-3\na: 2\nb: !x 1\nc: &y .inf\n3: x", tmp_path)
    assert [fault.split(":")[1] for fault in found] == ["1", "2", "3", "4", "4", "5"]


def test_keys_of_other_lines_are_found():
    document = yamlfile.parse("a: 1\nsweep:\n- b: 1\n- b:\n    - 1\n    - 2\n", "x")
    keys = [("a",), ("sweep", 1), ("sweep", 1, "b", 1), ("sweep", 1, "absent"), ()]
    assert [document.line(key) for key in keys] == [1, 4, 6, 4, 1]
    assert document.where(("sweep", 1, "b", 0)) == "x:5: sweep[1].b[0]"


BOMB = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))


@pytest.mark.parametrize(
    "text",
    [BOMB, "[" * 400_000, "{" * 400_000, "? " * 400_000, "- " * 400_000, "a: {" * 100_000, "a: 1\n" * 150_000,
     "a: [" + "1," * 400_000 + "]", "".join(f"k{i}: 1\n" for i in range(90_000)), "!" * 900_000],
    ids=["anchors", "lists", "mappings", "keys", "dashes", "deep", "twins", "long", "wide", "tag"],
)  # fmt: skip
def test_a_bomb_is_refused_in_a_moment(tmp_path, text):
    begin = time.process_time()
    found = faults(text, tmp_path)
    assert time.process_time() - begin < 5 and 1 <= len(found) <= yamlfile.MAX_FAULTS
    assert max(map(len, found)) < 500


def test_a_huge_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(100_000_000_000)  # sparse: reading it would take minutes and all memory
    begin = time.process_time()
    with pytest.raises(UserError, match="100,000,000,000 bytes; a benchmark file has at most 1,000,000"):
        yamlfile.read(path)
    assert time.process_time() - begin < 0.1


@pytest.mark.parametrize(
    ("path", "what"),
    [("absent.yaml", "no such file"), (".", "a folder"), ("/dev/zero", "not a regular file"),
     ("x\0y", "not a possible"), ("n" * 300 + ".yaml", "too long"), ("a.yaml/b.yaml", "Not a directory")],
)  # fmt: skip
def test_what_is_no_file_is_refused(tmp_path, path, what):
    (tmp_path / "a.yaml").write_text("a: 1")
    with pytest.raises(UserError, match=what):
        yamlfile.read(tmp_path / path)


def test_a_misspelt_file_is_told_its_neighbour(tmp_path):
    (tmp_path / "quick.yaml").write_text("a: 1")
    with pytest.raises(UserError, match=r"did you mean '.*/quick\.yaml'"):
        yamlfile.read(tmp_path / "quik.yaml")


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    try:
        yamlfile.parse(text, "x")
    except UserError as error:
        assert error.faults and all(str(fault).startswith("x:") for fault in error.faults)
