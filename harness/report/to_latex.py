r"""The report's tables as LaTeX: one `table` a task, ruled by booktabs, to be \input into a paper."""

from __future__ import annotations

import re

from harness.report.build import Report
from harness.report.columns import Column, columns
from harness.report.compared import comparison
from harness.report.table import MachineTable, TaskGroup
from harness.report.words import direction, number, plural

WIDEST = 4  # weight of the columns that a page has room for, as a narrow terminal has
MOST_ROWS = 40  # of a task: a float is a page at most
_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "'": r"\textquotesingle{}", "`": r"\textasciigrave{}",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "≥": r"$\ge$", "∞": r"$\infty$", "·": r"$\cdot$", "–": "--",  # noqa: RUF001
    "…": r"\dots{}",
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
        "% made by harness; needs \\usepackage[T1]{fontenc}, \\usepackage{textcomp} and \\usepackage{booktabs}",
        *(f"% note: {_plain(warning)}" for warning in report.warnings),
    ]
    parts = ["\n".join(head)]
    for i, table in enumerate(report.machines, 1):
        if len(report.machines) > 1:
            parts.append(f"% machine {i} of {len(report.machines)}: {_plain(table.fingerprint)}")
        for j, group in enumerate(table.groups, 1):
            label = "-".join(re.sub(r"[^a-z0-9]+", "-", part.lower()) for part in (report.name, f"{i}", f"{j}"))
            parts.append(_float(_caption(report, table, group), f"tab:{label}", _kept(columns(table, group)), group))
            if beside := comparison(table, group):
                caption = f"{escape(group.name)}: the best variant against each other one, on the same seeds."
                parts.append(_float(caption, f"tab:{label}-best", beside, group))
    return "\n\n".join(parts) + "\n"


def _kept(found: list[Column]) -> list[Column]:
    return [column for column in found if column.weight <= WIDEST]


def _caption(report: Report, table: MachineTable, group: TaskGroup) -> str:
    floor = number(group.floor, group.metric.format)
    told = [f"{group.name}: {group.metric.title}, {direction(group.higher_is_better)}, floor {floor}."]
    told.append("Medians over seeds with their intervals; a trial that diverged or failed counts as the worst.")
    held = "; ".join(f"{key} {value}" for key, value in table.held.items())
    told += [f"Held equal: {held}."] if held else []
    if len(report.machines) > 1:
        told.append(f"On {table.fingerprint}; machines are not ranked together.")
    if len(group.rows) > MOST_ROWS:
        told.append(f"The best {MOST_ROWS} of {plural(len(group.rows), 'variant')}.")
    if report.expected is not None and report.stored < report.expected:
        told.append(report.status)
    return escape(" ".join(told))


def _float(caption: str, label: str, found: list[Column], group: TaskGroup) -> str:
    lines = [" & ".join(escape(column.title) for column in found), r"\midrule"]
    lines += [" & ".join(escape(column.text(row)) for column in found) for row in group.rows[:MOST_ROWS]]
    body = "\n".join(line if line == r"\midrule" else rf"{line} \\" for line in lines)
    kinds = "".join("r" if column.numeric else "l" for column in found)
    return "\n".join(
        [
            r"\begin{table}[t]", r"\centering", rf"\caption{{{caption}}}", rf"\label{{{label}}}",
            r"\scriptsize", r"\setlength{\tabcolsep}{3pt}", rf"\begin{{tabular}}{{{kinds}}}", r"\toprule", body,
            r"\bottomrule", r"\end{tabular}", r"\end{table}",
        ]
    )  # fmt: skip


def _plain(text: str) -> str:
    """Text for a comment: one line, and nothing that ends it or that a compiler stumbles over."""
    return "".join(c if c == " " or (c.isascii() and c.isprintable()) else "?" for c in " ".join(text.split()))
