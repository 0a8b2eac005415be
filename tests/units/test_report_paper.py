"""LaTeX that compiles and Parquet with types: the same numbers as in the CSV, and no name opens anything."""

from __future__ import annotations

import io
import math
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_records import DIGITS, failed, grid, realistic, record, rows_of

from harness.record import RAW, arrow_schema
from harness.report import to_latex, to_parquet
from harness.report.build import build
from harness.report.to_latex import escape
from harness.trial import Trial

COMMANDS = {
    "begin", "end", "centering", "caption", "label", "scriptsize", "setlength", "tabcolsep", "toprule", "midrule",
    "bottomrule", "textbackslash", "textasciicircum", "textasciitilde", "textless", "textgreater", "textbar",
    "textquotedbl", "textquotesingle", "textasciigrave", "uparrow", "downarrow", "ge", "infty", "pm", "cdot", "dots",
    "texttt", "par", "smallskip", "parbox", "linewidth", "raggedright", "resizebox", "clearpage",
}  # fmt: skip


def sound(text: str) -> None:
    """Hold LaTeX to what a compiler would refuse: groups, environments, cells of a row, stray specials, letters."""
    assert all(ord(c) < 0x180 for c in text), "a character that the usual fonts lack"
    code = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    bare = re.sub(r"\\[\\{}$&#%_]", "", code)  # escaped specials, and the ends of rows
    depth = 0
    for char in bare:
        depth += (char == "{") - (char == "}")
        assert depth >= 0
    assert depth == 0 and bare.count("$") % 2 == 0 and not re.search(r"[#~^%]", bare)
    assert set(re.findall(r"\\([a-zA-Z]+)", bare)) <= COMMANDS
    open_: list[str] = []
    for what, name in re.findall(r"\\(begin|end)\{(\w+)\}", bare):
        open_.append(name) if what == "begin" else None
        assert what == "begin" or open_.pop() == name
    assert not open_
    for kinds, body in re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", code, re.DOTALL):
        lines = [line for line in body.splitlines() if line and not line.startswith("\\")]
        assert lines and all(line.endswith(r" \\") for line in lines)
        assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {len(kinds) - 1}
    labels = re.findall(r"\\label\{([^}]*)\}", code)
    assert len(labels) == len(set(labels)) and all(re.fullmatch(r"tab:[a-z0-9-]+", label) for label in labels)


def test_latex_is_sound_and_has_every_row_with_its_numbers() -> None:
    records, trials = realistic(6)
    text = to_latex.render(build("quick", "Which cell?", records, trials))
    sound(text)
    assert text.count(r"\begin{table}") == 4 and r"\usepackage{booktabs}" in text
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
    rows = [row for row in rows_of(records, trials) if row["task"] == "digits"]
    assert body.count(r"\\") == len(rows)
    for row in rows:
        if math.isfinite(float(row["score"])):
            assert f"{float(row['score']):.3f} [" in body


HOSTILE = [
    r"\input{/etc/passwd}",
    "a & b \\\\ c",
    "50 % # off_$x$",
    "{",
    "}",
    "~^|<>\"'`",
    "中文 ü ś ∞ \u202e",
    "\x1b[31m",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_opens_a_command_a_group_or_a_cell(name: str) -> None:
    trials = [Trial(task={"name": name}, cell={"name": name, "kind": name}, examples=100, seed=s) for s in range(2)]
    made = [record(trials[0], kernel=name, fingerprint=name), failed(trials[1], reason=name, fingerprint="other")]
    sound(to_latex.render(build("quick", name, made, trials)))


@given(st.text())
def test_any_text_is_escaped(text: str) -> None:
    sound(escape(text))


def test_of_nothing_and_of_very_many_the_files_are_sound() -> None:
    empty = build("quick", "Which?", [], grid())
    sound(to_latex.render(empty))
    assert pq.read_table(io.BytesIO(to_parquet.render_variants(empty))).num_rows == 0
    assert pq.read_table(io.BytesIO(to_parquet.render_trials(empty))).num_rows == 0
    rates = [Trial(task=DIGITS, cell={"name": "gru"}, learning_rate=k / 1000, examples=100) for k in range(1, 60)]
    text = to_latex.render(build("quick", "Which?", [record(t) for t in rates], rates))
    sound(text)
    assert "The best 40 of 59 variants." in text


def test_parquet_has_the_rows_of_the_csv_with_types() -> None:
    records, trials = realistic()
    report = build("quick", "Which cell?", records, trials)
    table = pq.read_table(io.BytesIO(to_parquet.render_variants(report)), page_checksum_verification=True)
    rows = rows_of(records, trials)
    assert table.column_names == list(rows[0]) and len(table) == len(rows)
    kinds = {name: str(table.schema.field(name).type) for name in table.column_names}
    assert kinds["score"] == kinds["mfu"] == "double" and kinds["trials_ok"] == kinds["parameters"] == "int64"
    assert kinds["higher_is_better"] == "bool" and kinds["truncation_cosine"] == "list<element: double>"
    assert kinds["clip_norm"] == "string", "none for some, a number for others"
    for line, row in zip(table.to_pylist(), rows, strict=True):
        assert line["cell"] == row["cell"] and line["trial_ids"] == row["trial_ids"]
        assert line["score"] == float(row["score"]) and (line["p"] is None) == (row["p"] == "")


def test_parquet_has_a_row_for_every_trial_with_the_fields_of_its_record() -> None:
    records, trials = realistic()
    table = pq.read_table(io.BytesIO(to_parquet.render_trials(build("quick", "Which cell?", records, trials))))
    assert set(arrow_schema().names) - RAW == set(table.column_names) - {"report_task", "variant"}
    by_id = {r.trial_id: r for r in records}
    assert sorted(table["trial_id"].to_pylist()) == sorted(by_id)
    for line in table.to_pylist():
        held = by_id[line["trial_id"]]
        assert (line["status"], line["seed"], line["gradient_by_lag"]) == (held.status, held.seed, held.gradient_by_lag)
        assert line["score"] == held.score or math.isnan(held.score)


def test_a_flipped_bit_in_a_page_is_noticed() -> None:
    records, trials = realistic()
    data = bytearray(to_parquet.render_trials(build("quick", "Which cell?", records, trials)))
    noticed = 0
    for position in range(200, 2_200, 50):
        flipped = bytearray(data)
        flipped[position] ^= 16
        try:
            pq.read_table(io.BytesIO(bytes(flipped)), page_checksum_verification=True)
        except (OSError, pa.ArrowException):
            noticed += 1
    assert noticed > 30
