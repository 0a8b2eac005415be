"""Claims in every format: verdict, sentence and numbers agree, names are shown and never obeyed, a CSV line a check."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

from report_records import DIGITS, record
from rich.console import Console

from harness import report
from harness.claims import Claim, Compare, Linear
from harness.record import Record
from harness.report import to_csv
from harness.report.build import build
from harness.report.claimed import READING, claimed, tally
from harness.report.words import clean
from harness.trial import Trial

CELLS = {"lstm": 0.9, "elman": 0.5}
SIDES = ({"cell": "lstm", "bptt_length": None}, {"cell": "elman", "bptt_length": None})


def made(fingerprint: str = "test-2c-01234567") -> list[Record]:
    trials = [
        Trial(task=DIGITS, cell={"name": cell}, bptt_length=window, examples=100, seed=seed)
        for cell in CELLS for window in (8, 16, 32, None) for seed in range(5)
    ]  # fmt: skip
    return [
        record(
            t, score=CELLS[t.cell["name"]] + t.seed / 100, activation_bytes=2**20 * (t.bptt_length or 64),
            fingerprint=fingerprint,
        )
        for t in trials
    ]  # fmt: skip


def claims(records: list[Record], text: str = "One is better.", source: str = "a book") -> tuple[Claim, ...]:
    trials = tuple(Trial.from_canonical(r.trial) for r in records)
    checks = (
        Compare("score", "better", *SIDES),
        Linear("activation_bytes", "bptt_length", {"cell": "lstm"}),
        Compare("gradient_norm_p99", "less", *SIDES, times=1e-9),
    )
    return tuple(Claim(text, source, trials, part) for part in (checks[:2], checks[2:], (*checks[:1], *checks[2:])))


def texts(records: list[Record], said: tuple[Claim, ...], folder: Path) -> dict[str, str]:
    """Every format as text, the terminal on lines as long as they are."""
    trials = [Trial.from_canonical(r.trial) for r in records]
    made = report.make("quick", "What holds?", records, trials, said)
    paths = report.write(made, folder)
    console = Console(width=400, file=io.StringIO())
    report.show(console, made)
    shown = {kind: path.read_text() for kind, path in paths.items() if path.suffix != ".pq"}
    return shown | {"terminal": console.file.getvalue()}


LINES = (
    "accuracy (bptt length none) of lstm 0.920 against elman 0.520, better in 5 of 5 seeds (sign test p = 0.031)",
    "activations of lstm by bptt length 8 to 32 (3 points): 8 MiB to 32 MiB, a straight line with R2 = 1.0000",
)


def test_every_format_says_the_same(tmp_path: Path) -> None:
    records = made()
    shown = texts(records, claims(records), tmp_path)
    for kind in ("md", "html", "terminal"):
        text = shown[kind].replace("&lt;", "<")
        assert all(line in text for line in LINES), kind
        assert "Of 3 claims 1 holds, 2 do not hold." in text
        assert f"holds: {LINES[0]}" in text  # where the checks of one claim differ each says its own
    assert "* **holds**: One is better. (a book)" in shown["md"] and READING.split(":")[0] in shown["md"]
    assert "holds: One is better. a book" in shown["terminal"]
    page = re.findall(r'<span class="badge (\w+)">(holds|does not hold|inconclusive)</span>', shown["html"])
    assert page == [("good", "holds"), ("bad", "does not hold"), ("bad", "does not hold")]


def test_the_csv_has_a_line_for_each_check_with_its_numbers(tmp_path: Path) -> None:
    records = made()
    lines = list(csv.DictReader(io.StringIO(texts(records, claims(records), tmp_path)["claims"])))
    assert [line["check_verdict"] for line in lines] == ["holds", "holds", "does not hold", "holds", "does not hold"]
    assert [line["verdict"] for line in lines] == ["holds"] * 2 + ["does not hold"] * 3
    first, second = lines[:2]
    numbers = {"one_value": "0.92", "other_value": "0.52", "wins": "5", "losses": "0", "seeds": "5", "p": "0.03125"}
    assert {name: first[name] for name in numbers} == numbers
    assert (json.loads(first["one"]), json.loads(first["other"])) == SIDES
    assert (second["linear_in"], second["points"], float(second["slope"])) == ("bptt_length", "3", 2**20)
    assert first["relation"] == "better" and second["relation"] == "" and first["evidence"] == LINES[0]


def test_a_claim_that_lacks_trials_says_how_many(tmp_path: Path) -> None:
    records = made()
    shown = texts(records[:7], claims(records), tmp_path)
    for kind in ("md", "html", "terminal"):
        assert "7 of 40 trials are stored" in shown[kind]
        assert "Of 3 claims 3 are inconclusive." in shown[kind]
    lines = list(csv.DictReader(io.StringIO(shown["claims"])))
    assert [(line["verdict"], line["evidence"]) for line in lines] == [
        ("inconclusive", "7 of 40 trials are stored")
    ] * 3


def test_machines_are_judged_apart() -> None:
    here, there = made(), made("other-8c-ffffffff")[:9]
    built = build("quick", "What holds?", here + there, None, claims(here))
    assert [tally(built.findings(table)) for table in built.machines] == [
        "Of 3 claims 1 holds, 2 do not hold.",
        "Of 3 claims 3 are inconclusive.",
    ]
    lines = list(csv.DictReader(io.StringIO(to_csv.render_claims(built))))
    assert [line["fingerprint"] for line in lines] == ["test-2c-01234567"] * 5 + ["other-8c-ffffffff"] * 3


def test_without_claims_there_is_no_word_of_them(tmp_path: Path) -> None:
    records = made()
    shown = texts(records, (), tmp_path)
    assert shown.keys() == {"md", "csv", "html", "tex", "terminal"}
    assert "laim" not in shown["md"] and "Claims" not in shown["html"] and "laim" not in shown["terminal"]
    assert not [path.name for path in tmp_path.iterdir() if "claims" in path.name]


HOSTILE = ("<script>alert(1)</script>", "=cmd()", "a|b", "[red]x[/red]", "`x` *y* $z$", "\x1b[31mred\nline", "@sum(1)")


def test_a_hostile_sentence_opens_nothing(tmp_path: Path) -> None:
    records = made()
    said = [claim for name in HOSTILE for claim in claims(records, name, name)]
    said += [
        Claim(name, name, said[0].trials, (Compare("score", "better", SIDES[0], {"cell": name}),)) for name in HOSTILE
    ]
    shown = texts(records, tuple(said), tmp_path)
    assert shown["html"].count("<script") == 1 and "<script" not in shown["md"] and " *y*" not in shown["md"]
    assert not any(c in text for c in "\x1b\x00" for text in shown.values())
    for line in csv.reader(io.StringIO(shown["claims"])):
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in line)
    assert all(f": {clean(name)} {clean(name)}" in shown["terminal"] for name in HOSTILE)
    built = build("quick", "What holds?", records, None, said)
    for claim in claimed(built.findings(built.machines[0])):
        assert claim.text == clean(claim.text) and all(line == clean(line) for line in claim.evidence)
