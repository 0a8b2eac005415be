"""The report's LaTeX through a real compiler: no error, and no table wider than the page."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from report_records import LIMITS, grid, realistic, record

from harness.record import Record
from harness.report import to_latex
from harness.report.build import build
from harness.trial import Trial

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex: apt-get install texlive-latex-recommended"),
]
PAPER = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage{textcomp}
\usepackage{booktabs}
\usepackage{graphicx}
\begin{document}
\input{tables}
\end{document}
"""
FAULTS = re.compile(r"^(!.*|Overfull \\hbox.*|Missing character.*|LaTeX Warning: Float too large.*)", re.MULTILINE)


def pages(folder: Path, records: list[Record], trials: list[Trial] | None = None) -> int:
    """Compile a report's tables as a paper would; return how many pages they fill."""
    (folder / "tables.tex").write_text(to_latex.render(build("quick", "Which cell?", records, trials)), "utf-8")
    (folder / "paper.tex").write_text(PAPER, "utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    said = done.stdout.decode("utf-8", "replace")
    assert not FAULTS.findall(said) and done.returncode == 0, FAULTS.findall(said) or said[-2000:]
    written = re.search(r"Output written on paper\.pdf\s+\((\d+) page", said)
    assert written and (folder / "paper.pdf").stat().st_size > 10_000
    return int(written[1])


@pytest.mark.parametrize("seeds", [1, 3, 10])
def test_tables_fit_the_page(tmp_path: Path, seeds: int) -> None:
    records, trials = realistic(seeds)
    assert pages(tmp_path, records, trials) <= 2


def test_two_machines_and_hostile_names_compile(tmp_path: Path) -> None:
    odd = {
        "kernel": "\\input{/etc/passwd} \x1b[31m ~^{}#%&_$|<>\"'`",
        "verdict": "中文 ü ś ∞ \u202e",
        "fingerprint": "}%\\",
    }
    records, _ = realistic()
    assert pages(tmp_path, [*records, *(each.replace(**odd) for each in records)]) >= 2


def test_a_name_too_long_for_the_page_is_made_smaller(tmp_path: Path) -> None:
    """Of columns the settings always stay; here they alone are wider than the page."""
    long = [{"at": k, "learning_rate": 0.001 / k, "clip_norm": 0.5} for k in range(1, 9)]
    trials = [t.model_copy(update={"changes": changes}) for t in grid()[:9] for changes in ([], long)]
    assert pages(tmp_path, [record(t, **LIMITS) for t in trials]) >= 1
    assert "resizebox" in (tmp_path / "tables.tex").read_text("utf-8")


def test_more_tables_than_latex_holds_back_compile(tmp_path: Path) -> None:
    tasks = [{"name": "adding", "length": length} for length in range(10, 45)]
    trials = [Trial(task=task, cell={"name": cell}, examples=100) for task in tasks for cell in ("gru", "lstm")]
    assert pages(tmp_path, [record(trial) for trial in trials]) > 10
