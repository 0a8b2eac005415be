"""The dashboards of a benchmark to W&B's server: made the first time, brought up to date from then on.

What W&B called them is kept beside the JSON, by entity and project, so that a second time changes them and adds none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import redact
from harness.dashboards import FOLDER, check_installed
from harness.errors import Stopped
from harness.record import Record
from harness.storage import files
from harness.tracking.upload import PATIENCE

KEPT = "published.json"


def publish(name: str, records: Sequence[Record], entity: str, project: str, folder: Path) -> dict[str, str]:
    """Publish charts, workspace and report; return the address of the two last, and notes.

    Raises Stopped where W&B does not take them: what it took stays, and the same command goes on.
    """
    check_installed()
    for variable, value in {**PATIENCE, "WANDB_SILENT": "true"}.items():
        os.environ.setdefault(variable, value)
    from harness.dashboards import views

    try:
        return _published(views.of(name, records), entity, project, folder / FOLDER / KEPT)
    except Exception as error:  # a third party's tool and network: any fault is theirs or the user's key
        words = redact.text(" ".join(f"{type(error).__name__}: {error}".split())[:300])
        remedy = f"harness wandb dashboard {folder} --publish, when WANDB_API_KEY and the server are right"
        raise Stopped(f"W&B did not take the dashboards: {words}\n  try: {remedy}") from error


def _published(view: Any, entity: str, project: str, kept: Path) -> dict[str, str]:
    import wandb

    from harness.dashboards import layout

    api = wandb.Api(timeout=int(PATIENCE["WANDB_HTTP_TIMEOUT"]))
    entity = entity or api.default_entity or ""
    known: dict[str, dict[str, Any]] = json.loads(kept.read_text()) if kept.exists() else {}
    ours = known.setdefault(f"{entity}/{project}", {})

    def keep(**found: Any) -> None:
        ours.update(found)
        files.replace(kept, json.dumps(known, indent=1, sort_keys=True).encode())

    presets, refused = _charts(api, entity, ours.get("charts", {}))
    keep(charts=presets)
    workspace = layout.workspace(view, entity, project, presets)
    workspace._internal_name, workspace._internal_id = ours.get("workspace", ("", ""))
    workspace.save()
    keep(workspace=(workspace._internal_name, workspace._internal_id))
    report = layout.report(view, entity, project, presets)
    report.id = ours.get("report", "")
    report.save()
    keep(report=report.id)
    notes = {"charts not made, or there already": ", ".join(refused)} if refused else {}
    return {"workspace": workspace.url, "report": report.url} | notes


def _charts(api: Any, entity: str, known: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return what W&B calls each chart of ours in this entity, and which of them it did not make just now.

    One that another folder's dashboards made is there already, which W&B cannot be asked and says by making none; were
    something else wrong, the workspace that follows would fail.
    """
    from harness.dashboards.charts import CHARTS

    presets, refused = dict(known), []
    for chart in CHARTS:
        if chart.name not in presets:
            try:
                api.create_custom_chart(
                    entity=entity, name=chart.name, display_name=chart.title[:100], spec_type="vega2",
                    access="private", spec=chart.template(),
                )  # fmt: skip
            except Exception:
                refused.append(chart.name)
            presets[chart.name] = f"{entity}/{chart.name}"
    return presets, refused
