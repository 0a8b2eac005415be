"""The workspace and the report of a benchmark, in the words of wandb-workspaces, whose import takes a second."""

from __future__ import annotations

from typing import Any

from wandb_workspaces import expr
from wandb_workspaces import workspaces as ws
from wandb_workspaces.reports import v2 as wr

from harness.dashboards.charts import CHARTS, Chart
from harness.dashboards.views import View
from harness.metrics import CURVES, Metric, valid

MOST_RUNS = 100
"""Lines that one plot draws."""


def plain(built: ws.Workspace | wr.Report) -> dict[str, Any]:
    """Return what W&B's server would store. Names that the package draws at random are left out: equal records, equal
    text."""
    return _named(built._to_model().model_dump(mode="json", by_alias=True, exclude_none=True))


def _named(value: Any) -> Any:
    if isinstance(value, dict):
        drawn = ("__id__", "id", "createdAt", "updatedAt") + (("name",) if "displayName" in value else ())
        return {key: _named(each) for key, each in value.items() if key not in drawn}
    return [_named(each) for each in value] if isinstance(value, list) else value


def workspace(view: View, entity: str, project: str, presets: dict[str, str] | None = None) -> ws.Workspace:
    """Return the workspace. `presets`: what W&B calls each chart of ours; None: as if they were in `entity`."""
    sections = [
        ws.Section(name="Scores", panels=_scores(view), is_open=True),
        ws.Section(name="Learning", panels=_learning(view), is_open=True),
        ws.Section(name="Gradients and stability", panels=_gradients(view, entity, presets), is_open=True),
    ]
    runs = ws.RunsetSettings(
        filters=expr.And(expr.Metric("Group") == view.benchmark),
        order=[expr.Ordering(expr.Summary(metric.name), metric.better == "lower") for metric in view.metrics[:1]],
        pinned_columns=["run:displayName", *_columns(view)],
    )
    settings = ws.WorkspaceSettings(x_axis="examples", max_runs=MOST_RUNS)
    return ws.Workspace(
        entity=entity, project=project, name=f"rnn-harness: {view.benchmark}", sections=sections, settings=settings,
        runset_settings=runs,
    )  # fmt: skip


def report(view: View, entity: str, project: str, presets: dict[str, str] | None = None) -> wr.Report:
    """Return the report. Without an entity no server is asked, and its runs are those of whoever opens it."""
    place = {"entity": entity, "project": project} if entity else {}
    runs = wr.Runset(
        **place,
        name=view.benchmark,
        filters=expr.And(expr.Metric("Group") == view.benchmark),
        order=[wr.OrderBy(wr.SummaryMetric(m.name), ascending=m.better == "lower") for m in view.metrics[:1]],
        pinned_columns=_columns(view),
        visible_columns=_columns(view),
    )
    machines = "one machine" if view.machines == 1 else f"{view.machines} kinds of machine, never to be ranked together"
    said = f"{view.trials} trials on {machines}. A run is one trial with one seed; a row of the table is their median."
    blocks: list[Any] = [wr.P(said)]
    parts = (("Settings and scores", _scores(view)), ("Learning", _learning(view)))
    for title, panels in (*parts, ("Gradients and stability", _gradients(view, entity, presets))):
        blocks += [wr.H2(title), wr.PanelGrid(runsets=[runs], panels=panels)]
    return wr.Report(
        entity=entity, project=project, title=f"rnn-harness: {view.benchmark}", blocks=blocks, width="fluid"
    )


def _columns(view: View) -> list[str]:
    """Columns of the table of runs: how it ended, scores, settings, what stands beside."""
    settings = [f"config:{key.replace('.', '.value.', 1) if '.' in key else key + '.value'}" for _, key in view.axes]
    numbers = [f"summary:{metric.name}" for metric in (*view.metrics, *view.beside)]
    return ["summary:status", "summary:verdict", *settings, *numbers]


def _scores(view: View) -> list[Any]:
    """Parallel coordinates from settings to each score, and the score against the speed."""
    return [panel for metric in view.metrics for panel in (_parallel(view, metric), _trade(metric))]


def _parallel(view: View, metric: Metric) -> wr.ParallelCoordinatesPlot:
    axes = [wr.ParallelCoordinatesPlotColumn(metric=wr.Config(key), display_name=title) for title, key in view.axes]
    ends = [
        wr.ParallelCoordinatesPlotColumn(
            metric=wr.SummaryMetric(each.name), display_name=each.title, inverted=each.better == "lower"
        )
        for each in (*view.beside[:2], metric)
    ]
    return wr.ParallelCoordinatesPlot(columns=axes + ends, title=f"From settings to {metric.title}", layout=_wide())


def _trade(metric: Metric) -> wr.ScatterPlot:
    return wr.ScatterPlot(
        title=f"{metric.title} against speed", x=wr.SummaryMetric("tokens_per_second"), log_x=True,
        y=wr.SummaryMetric(metric.name), z=wr.SummaryMetric("parameters"),
    )  # fmt: skip


def _learning(view: View) -> list[Any]:
    named = [(valid(metric.name), f"{metric.title}, validation split") for metric in view.metrics]
    return [_line(title, "examples", key) for key, title in [*named, ("train_loss", "training loss")]]


def _gradients(view: View, entity: str, presets: dict[str, str] | None) -> list[Any]:
    lines = [
        _line("gradient norm before clipping", "updates", "gradient_norm", log=True),
        _line("gradient by lag", "lag", "gradient_by_lag", log=True),
    ]
    return [*[_custom(chart, entity, presets or {}) for chart in CHARTS], *lines]


def _line(title: str, x: str, y: str, log: bool = False) -> wr.LinePlot:
    return wr.LinePlot(
        title=title, x=x, y=[y], log_y=log, title_x=CURVES[x].title, max_runs_to_show=MOST_RUNS, smoothing_factor=0
    )


def _custom(chart: Chart, entity: str, presets: dict[str, str]) -> wr.CustomChart:
    return wr.CustomChart(
        query=chart.query, chart_name=presets.get(chart.name, f"{entity or 'entity'}/{chart.name}"),
        chart_fields=chart.fields, chart_strings={"title": chart.title}, layout=_wide(),
    )  # fmt: skip


def _wide() -> wr.Layout:
    return wr.Layout(w=24, h=10)
