r"""The report's tables as LaTeX: one `table` a task, ruled by booktabs, to be \input into a paper."""

from __future__ import annotations

import re

from harness.report.build import Report
from harness.report.columns import Column, columns, fitting
from harness.report.compared import comparison
from harness.report.table import MachineTable, Row, TaskGroup
from harness.report.words import NONE, direction, listing, number, plural, sentence

WIDEST = 4  # weight of the columns that are worth a page's room
ROOM, BETWEEN = 345.0, 3.0
"""Points between the margins of LaTeX's article, and to each side of a column."""
POINTS = {
    2.3: "!,.:;[]il", 2.5: "fj·", 2.7: " -", 2.9: "I", 3.2: "()rst", 3.6: "cez", 4.0: "*/0123456789?ago–", 4.2: "J↓↑",  # noqa: RUF001
    4.3: "kqvxy", 4.5: "Sbdhnpu", 5.2: "FLZ", 5.8: "BCEPRTw", 6.2: "+±=@ADGHKNOQUVXY_<>", 6.6: "m%", 7.2: "M", 8.1: "W",
}  # fmt: skip
"""How wide a character is in scriptsize Computer Modern, rounded up: what others are, by their number, is more."""
_WIDTHS = {char: width for width, chars in POINTS.items() for char in chars}
SAID = ("score_confidence", "difference_confidence")
"""Columns that the caption says, where every row has the same."""
MOST_WAITING = 40  # floats, of which LaTeX holds 52 back
MOST_ROWS = 40  # of a task: a float is a page at most
_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "'": r"\textquotesingle{}", "`": r"\textasciigrave{}",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "≥": r"$\ge$", "∞": r"$\infty$", "·": r"$\cdot$", "–": "--",  # noqa: RUF001
    "…": r"\dots{}", "±": r"$\pm$",
}  # fmt: skip
_LETTERS = re.compile("[\u00c0-\u00ff\u0100-\u017f]")
"""Accented Latin letters, which every LaTeX since 2018 reads as UTF-8."""


def escape(text: str) -> str:
    r"""Return text on one line as LaTeX that prints it: no command, group or comment can be opened by a name, and a
    character that the usual fonts lack is printed by its number."""
    return "".join(map(_escaped, " ".join(text.split())))


def _escaped(char: str) -> str:
    if char in _SPECIAL:
        return _SPECIAL[char]
    if (char.isascii() and char.isprintable()) or _LETTERS.match(char):
        return char
    return rf"\texttt{{U+{ord(char):04X}}}"


def render(report: Report) -> str:
    """Return the LaTeX text."""
    head = [
        f"% {_plain(report.name)}: {_plain(report.status)}",
        "% made by harness; needs \\usepackage[T1]{fontenc}, \\usepackage{textcomp}, \\usepackage{booktabs} and "
        "\\usepackage{graphicx}",
        *(f"% note: {_plain(warning)}" for warning in report.warnings),
    ]
    parts = ["\n".join(head)]
    for i, table in enumerate(report.machines, 1):
        if len(report.machines) > 1:
            parts.append(f"% machine {i} of {len(report.machines)}: {_plain(table.fingerprint)}")
        for j, group in enumerate(table.groups, 1):
            label = "-".join(re.sub(r"[^a-z0-9]+", "-", part.lower()) for part in (report.name, f"{i}", f"{j}"))
            kept = [column for column in columns(table, group) if column.weight <= WIDEST]
            note = "; ".join(f"{key} {value}" for key, value in table.held.items())
            note = f"Held equal: {note}." if note else ""
            parts.append(_float(_caption(report, table, group), f"tab:{label}", kept, group, note))
            if beside := comparison(table, group):
                worths = [text for column in beside if column.name in SAID for text in _texts(column, group.rows)]
                worth = f" ({worths[0]})" if len(worths) == 1 else ""
                caption = f"{group.name}: how far behind the best variant each other one is, on the same seeds{worth}."
                parts.append(_float(caption, f"tab:{label}-best", beside, group))
    for place in range(MOST_WAITING, len(parts), MOST_WAITING):
        parts[place] = f"\\clearpage\n{parts[place]}"
    return "\n\n".join(parts) + "\n"


def _caption(report: Report, table: MachineTable, group: TaskGroup) -> str:
    floor = number(group.floor, group.metric.format)
    told = [f"{group.name}: {group.metric.title}, {direction(group.higher_is_better)}, floor {floor}."]
    worths = {sentence(row.score) for row in group.rows}
    worth = worths.pop() if len(worths) == 1 else "median over seeds, with its interval"
    told.append(f"Score: {worth}; a trial that diverged or failed counts as the worst.")
    if len(report.machines) > 1:
        told.append(f"On {table.fingerprint}; machines are not ranked together.")
    if len(group.rows) > MOST_ROWS:
        told.append(f"The best {MOST_ROWS} of {plural(len(group.rows), 'variant')}.")
    if report.expected is not None and report.stored < report.expected:
        told.append(report.status)
    return " ".join(told)


def _float(caption: str, label: str, found: list[Column], group: TaskGroup, note: str = "") -> str:
    """A table, as wide as a page at most: of its columns those that fit, small ones of great weight first to go."""
    rows = group.rows[:MOST_ROWS]
    told = [column for column in found if column.name not in SAID or len(_texts(column, rows)) > 1]
    kept = fitting(ROOM, told, rows, lambda text: width(text) + 2 * BETWEEN)
    left = [column.title for column in told if column not in kept]
    note = f"{note} For want of room only in the CSV: {listing(left, len(left))}.".strip() if left else note
    lines = [" & ".join(escape(column.title) for column in kept), r"\midrule"]
    lines += [" & ".join(escape(column.text(row)) for column in kept) for row in rows]
    body = "\n".join(line if line == r"\midrule" else rf"{line} \\" for line in lines)
    kinds = "".join("r" if column.numeric else "l" for column in kept)
    size = sum(max(map(width, (c.title, *map(c.text, rows)))) + 2 * BETWEEN for c in kept)
    shrink, end = (r"\resizebox{\linewidth}{!}{", "}") if size > ROOM else ("", "")
    return "\n".join(
        [
            r"\begin{table}[tp]", r"\centering", rf"\caption{{{escape(caption)}}}", rf"\label{{{label}}}",
            r"\smallskip\scriptsize", rf"\setlength{{\tabcolsep}}{{{BETWEEN:g}pt}}",
            rf"{shrink}\begin{{tabular}}{{{kinds}}}", r"\toprule", body, r"\bottomrule", rf"\end{{tabular}}{end}",
            *([rf"\par\smallskip\parbox{{\linewidth}}{{\raggedright {escape(note)}}}"] if note else []),
            r"\end{table}",
        ]
    )  # fmt: skip


def _texts(column: Column, rows: list[Row]) -> set[str]:
    return {column.text(row) for row in rows} - {NONE}


def width(text: str) -> float:
    """Return how many points a text takes at most, as `escape` prints it."""
    return sum(_WIDTHS.get(char, 6.2 if char in _SPECIAL or _LETTERS.match(char) else 27.0) for char in text)


def _plain(text: str) -> str:
    """Text for a comment: one line, and nothing that ends it or that a compiler stumbles over."""
    return "".join(c if c == " " or (c.isascii() and c.isprintable()) else "?" for c in " ".join(text.split()))
