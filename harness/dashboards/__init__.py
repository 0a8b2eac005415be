"""Dashboards as code: a W&B workspace and a report of a benchmark, from its records to JSON, and to W&B when asked.

    views.py    what is shown: which settings differ, which scores there are
    layout.py   the workspace and the report, in W&B's own words
    charts.py   the heat map of gradients by lag and the stability map, in Vega-Lite
    publish.py  all that to W&B's server

Built without a network, so that a layout is reviewed and kept like code. Only layout.py and publish.py import W&B.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.errors import Fault, UserError
from harness.machine import version
from harness.record import Record
from harness.storage import files

FOLDER = "wandb-dashboards"
"""Folder beside the records that the files go to."""
PACKAGE = "wandb-workspaces"


def check_installed(installed: Callable[[str], str] = version) -> None:
    """Raise UserError where the optional package that builds layouts is missing. `installed` names versions."""
    if not installed(PACKAGE):
        what = f"dashboards need the package {PACKAGE}, which is not installed"
        raise UserError(Fault(what, remedy="pip install 'rnn-harness[dashboards]'"))


def build(name: str, records: Sequence[Record], project: str) -> dict[str, Any]:
    """Return what each file holds: workspace.json and report.json as W&B stores them, and one Vega-Lite chart a file
    with the records' own data, which any Vega editor draws."""
    check_installed()
    from harness.dashboards import charts, layout, views

    view = views.of(name, records)
    built: dict[str, Any] = {"workspace.json": layout.plain(layout.workspace(view, "", project))}
    built["report.json"] = layout.plain(layout.report(view, "", project))
    for chart in charts.CHARTS:
        built[f"{chart.name}.vl.json"] = chart.with_data(chart.rows(records))
    return built


def write(name: str, records: Sequence[Record], project: str, folder: Path) -> list[Path]:
    """Write the files into `folder`/wandb-dashboards and return their paths. Raises Stopped where that cannot be."""
    built = build(name, records, project)
    place = folder / FOLDER
    with files.explained("the dashboards", place):
        files.make_folder(place)
        for file, content in built.items():
            files.replace(place / file, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())
    return [place / file for file in built]
