"""The report's formats: they agree, names are shown and never obeyed, files are whole, the page stands alone."""

from __future__ import annotations

import csv
import io
import math
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_records import DIGITS, failed, realistic, record
from rich.console import Console

from harness import report
from harness.errors import Stopped
from harness.metrics import METRICS
from harness.record import Record
from harness.report.to_csv import safe
from harness.report.to_markdown import escape
from harness.report.words import clean, number, setting_value
from harness.trial import Trial

QUESTION = "Which cell?"


def texts(records: list[Record], expected: list[Trial] | None, folder: Path) -> dict[str, str]:
    """Every format as text, the terminal included."""
    made = report.make("quick", QUESTION, records, expected)
    paths = report.write(made, folder)
    console = Console(width=120, file=io.StringIO(), force_terminal=False)
    report.show(console, made)
    return {kind: path.read_text() for kind, path in paths.items() if path.suffix != ".pq"} | {
        "terminal": console.file.getvalue()
    }


def test_numbers_in_every_format_are_the_ones_of_the_csv(tmp_path: Path) -> None:
    records, trials = realistic()
    shown = texts(records, trials, tmp_path)
    for row in csv.DictReader(io.StringIO(shown["csv"])):
        form = METRICS[row["metric"]].format
        lost = "diverged" if row["trials_diverged"] != "0" else "failed"
        ends = [
            lost if math.isinf(v) else format(v, form) for v in (float(row[f"score{k}"]) for k in ("_low", "_high"))
        ]
        center = lost if math.isinf(float(row["score"])) else format(float(row["score"]), form)
        cell = f"{center} [{ends[0]}, {ends[1]}]"
        speed = f"{float(row['tokens_per_second']):,.0f}"
        lines = [line for line in shown["md"].splitlines() if line.startswith(f"| {row['cell']} |") and cell in line]
        assert any(f"| {speed} " in line and f"| {row['verdict']} |" in line for line in lines)
        assert cell in shown["html"] and speed in shown["html"] and cell in shown["terminal"]


HOSTILE = ["<script>alert(1)</script>", "=cmd()", "a|b", "[red]x[/red]", "`x` *y* $z$", "\x1b[31mred\nline", "@sum(1)"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_opens_nothing_in_any_format(name: str, tmp_path: Path) -> None:
    trials = [Trial(task={"name": name}, cell={"name": name, "kind": name}, examples=100, seed=s) for s in range(2)]
    records = [record(trials[0], kernel=name, fingerprint=name, machine='{"cpu": "' + "<b>" + '"}', git_commit=name)]
    records += [failed(trials[1], reason=name, fingerprint=name)]
    made = report.make("quick", name, records, trials)
    paths = report.write(made, tmp_path)
    page = paths["html"].read_text()
    assert page.count("<script") == 1 and "<b>&" not in page and "alert(1)</" not in page.replace("&lt;/", "")
    for line in csv.reader(io.StringIO(paths["csv"].read_text())):
        assert not any(cell.startswith(("=", "@", "\t", "\r")) for cell in line)
    for table in re.findall(r"(?:^\|.*\n)+", paths["md"].read_text(), re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    assert "<script" not in paths["md"].read_text()
    assert not any(c in text for c in "\x1b\x00" for text in (page, paths["md"].read_text(), paths["csv"].read_text()))
    console = Console(width=300, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    report.show(console, made)
    assert clean(name) in console.file.getvalue() and "\x1b[31mred" not in console.file.getvalue()


@given(st.text())
def test_a_csv_cell_never_starts_a_formula_and_keeps_its_text(text: str) -> None:
    assert not safe(text).startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert safe(text).removeprefix("'") == text.removeprefix("'") or safe(text) == text


@given(st.text())
def test_markdown_text_stays_in_its_cell(text: str) -> None:
    out = escape(text)
    assert "\n" not in out and "<" not in out and not re.search(r"(?<!\\)(\\\\)*\|", out)


@given(st.text())
def test_clean_text_is_one_line_without_controls(text: str) -> None:
    assert clean(text).isprintable() or not clean(text).isascii()
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", clean(text))


@given(st.floats(0, 1))
def test_a_share_is_never_rounded_to_none_or_all(share: float) -> None:
    text = number(share, ".0%")
    assert (text == "0 %") == (share == 0) and (text == "100 %") == (share == 1)


@pytest.mark.parametrize(
    ("value", "form", "expected"),
    [
        (12345.6, ",.0f", "12,346"), (0.00004, ".4f", "4e-05"), (0.0, ".4f", "0.0000"), (math.nan, ".3f", "–"),  # noqa: RUF001
        (math.inf, ".0f", "∞"), (0.074, ".0%", "7 %"), (0.999, ".0%", "> 99 %"), (0.001, ".0%", "< 1 %"),
    ],
)  # fmt: skip
def test_numbers_as_a_reader_sees_them(value: float, form: str, expected: str) -> None:
    assert number(value, form) == expected


def test_equal_records_give_equal_bytes_in_any_order(tmp_path: Path) -> None:
    records, trials = realistic()
    assert texts(records, trials, tmp_path) == texts(records[::-1], trials, tmp_path)
    assert texts(records, None, tmp_path) == texts(records[::-1], None, tmp_path)


def test_files_are_whole_or_absent(tmp_path: Path) -> None:
    records, trials = realistic(1)
    made = report.make("quick", QUESTION, records, trials)
    first = report.write(made, tmp_path / "new" / "folder")
    assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == [
        "quick-trials.pq", "quick-variants.pq", "quick.csv", "quick.html", "quick.md", "quick.tex",
    ]  # fmt: skip
    before = first["md"].read_text()
    with pytest.raises(Exception, match="Expecting value"):
        broken = [records[0].replace(trial="not a number")]
        report.write(report.make("quick", QUESTION, broken, None), first["md"].parent)
    assert first["md"].read_text() == before
    (tmp_path / "file").write_text("")
    with pytest.raises(Stopped, match="cannot write the report"):
        report.write(made, tmp_path / "file")


def test_the_page_needs_no_network_and_its_drawings_are_sound(tmp_path: Path) -> None:
    records, trials = realistic()
    page = texts(records, trials, tmp_path)["html"]
    assert not re.search(r"(src|href)=\"(?!#|data:,)", page) and "@import" not in page and "url(http" not in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    for used in re.findall(r'(?:href="|url\()#([^")]+)', page):
        assert used in ids
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawings) == 10  # of two tasks, the first with maps and tries
    for drawing in drawings:
        ElementTree.fromstring(drawing.replace("<svg", '<svg xmlns:xlink="http://www.w3.org/1999/xlink"', 1))
        assert "#0a0" not in drawing and "aria-label" in drawing and "currentColor" in drawing
    assert all(f">{label}<" in page for label in ("lstm · BPTT 16 · clip none", "feedforward · clip 1"))


def test_many_variants_and_long_names_leave_room_for_the_drawings(tmp_path: Path) -> None:
    """Matplotlib warns where a legend or a label leaves no room, and a warning fails a test."""
    rates = [Trial(task=DIGITS, cell={"name": "gru"}, learning_rate=k / 1000, examples=100) for k in range(1, 60)]
    long = [Trial(task=DIGITS, cell={"name": "theirs", "kind": c * 300}, bptt_length=8, examples=100) for c in "ab"]
    page = texts([record(t) for t in rates + long], None, tmp_path)["html"]
    assert "The first 40 of 61 variants, best first." in page and "More settings differ than markers can tell." in page
    assert max(map(len, re.findall(r"<text[^>]*>([^<]*)</text>", page))) <= 60


def test_unlike_settings_never_look_alike() -> None:
    assert setting_value("learning_rate", 0.001) == "0.001" != setting_value("learning_rate", 0.0010000001)
    assert (setting_value("bptt_length", 16), setting_value("bptt_length", None)) == ("16", "whole")


@pytest.mark.parametrize("width", [120, 80, 60])
def test_the_terminal_keeps_its_width(width: int) -> None:
    records, trials = realistic()
    console = Console(width=width, file=io.StringIO())
    report.show(console, report.make("quick", QUESTION, records, trials))
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    headers = [line for line in lines if "cell" in line and "┃" in line]
    shown = [title.strip() for line in headers for title in line.strip("┃").split("┃")]
    asked = ["useful tokens/s", "kernel", "verdict", "decay/step", "|grad| median", "|grad| p99", "clipped", "trials",
             "parameters", "seconds"]  # fmt: skip
    assert all(shown.count(title) == 2 for title in asked), "every number of both tasks stands somewhere, once"
    assert all(title.startswith("cell") for title in [line.strip("┃ ") for line in headers])
    assert all("…" not in line for line in lines) or width < 80


def test_a_report_imports_nothing_heavy() -> None:
    code = (
        "import sys, tempfile; sys.path.insert(0, 'tests')\nfrom pathlib import Path\nfrom harness import report\n"
        "from report_records import realistic\n"
        "report.write(report.make('quick', 'q', *realistic(1)), Path(tempfile.mkdtemp()))\n"
        "heavy = {'torch', 'ray', 'pytorch_lightning', 'wandb', 'matplotlib.pyplot'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
