"""Dashboards as code: built without a network, equal for equal records, true to W&B's own models, updated when
published again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from report_records import grid, realistic, record
from wandb_server import serving

from harness import dashboards, redact
from harness.cli.main import main
from harness.dashboards import charts, views
from harness.errors import UserError
from harness.metrics import CURVES, METRICS
from harness.storage.store import Store
from harness.tracking.runs import config, history, summary
from harness.trial import Trial

pytest.importorskip("wandb_workspaces", reason="the extra `dashboards` is not installed")
RECORDS, _ = realistic()


def texts(value: object) -> list[str]:
    """Every text in plain data."""
    if isinstance(value, dict):
        return [text for pair in value.items() for each in pair for text in texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in texts(each)]
    return [value] if isinstance(value, str) else []


@pytest.fixture(scope="module")
def built() -> dict:
    return dashboards.build("quick", RECORDS, "rnn-harness")


def test_everything_that_a_panel_draws_is_in_every_run_that_went_well(built: dict) -> None:
    whole = [made for made in RECORDS if made.status == "ok" and made.gradient_lags]
    for file in ("workspace.json", "report.json"):
        asked = {text for text in texts(built[file]) if text.startswith(("config:", "summary:"))}
        assert len(asked) > 10
        for text in asked:
            section, _, key = text.partition(":")
            for made in whole:
                held: object = {"config": config, "summary": summary}[section](made)
                metric = METRICS.get(key)
                if section == "summary" and metric and key not in made.plain() and key != made.metric:
                    continue  # the score of another task
                for part in key.replace(".value", "").split("."):
                    assert isinstance(held, dict) and part in held, (text, made.task)
                    held = held[part]
                assert held is not None, f"{text}: W&B draws no run on an axis where it has a null"


def test_the_panels_asked_for_are_there(built: dict) -> None:
    for file in ("workspace.json", "report.json"):
        found = texts(built[file])
        assert {"Parallel Coordinates Plot", "Run History Line Plot", "Scatter Plot", "Vega2"} <= set(found)
        for chart in charts.CHARTS:
            assert f"entity/{chart.name}" in found
        for curve in ("gradient_norm", "gradient_by_lag", "train_loss", "valid_accuracy", "valid_mse"):
            assert any(curve in text for text in found), curve
    assert {"quick"} <= set(texts(built["report.json"])) and "summary:verdict" in texts(built["report.json"])


def test_equal_records_give_equal_text_and_w_and_b_reads_it(built: dict) -> None:
    from wandb_workspaces.reports.v2 import internal as report
    from wandb_workspaces.workspaces import internal as workspace

    assert json.dumps(dashboards.build("quick", RECORDS, "rnn-harness")) == json.dumps(built)
    again = workspace.WorkspaceViewspec.model_validate(built["workspace.json"]["spec"])
    assert len(again.section.panel_bank_config.sections) == 3
    assert len(report.Spec.model_validate(built["report.json"]["spec"]).blocks) >= 7


def test_the_charts_hold_the_records_numbers(built: dict) -> None:
    heat = built["gradient-by-lag.vl.json"]["data"]["values"]
    expected = [
        {"run": Trial.from_canonical(made.trial).label, "lag": lag, "gradient": value}
        for made in RECORDS
        for lag, value in zip(made.gradient_lags, made.gradient_by_lag, strict=True)
    ]
    assert heat == expected
    ends = built["stability-map.vl.json"]["data"]["values"]
    assert len(ends) == len(RECORDS) and sum(row["status"] != "ok" for row in ends) == sum(
        made.status != "ok" for made in RECORDS
    )


def test_a_chart_at_wandb_asks_for_what_a_run_has() -> None:
    made = record(grid()[0])
    logged = {name for row in history(made) for name in row} | {"name"}
    for chart in charts.CHARTS:
        for part, held in (("history", logged), ("summary", set(summary(made)))):
            assert set(chart.query.get(part, {}).get("keys", [])) <= held
        template = json.dumps(chart.template())
        for name, key in chart.fields.items():
            assert f"${{field:{name}}}" in template
            assert key in logged | set(summary(made)) and (key in CURVES or key not in METRICS)
        assert all(name in row for row in chart.rows([made]) for name in chart.fields)


def test_settings_that_differ_are_axes_and_the_rest_is_not() -> None:
    view = views.of("quick", RECORDS)
    keys = [key for _, key in view.axes]
    assert {"cell.name", "task.name", "shown.bptt_length", "shown.clip_norm"} <= set(keys)
    assert not {"seed", "hidden_size", "optimizer"} & set(keys) and len(keys) <= views.MOST_AXES
    assert [metric.name for metric in view.metrics] == ["accuracy", "mse"]


def test_no_secret_and_no_folder_reaches_a_dashboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "zq7canary4d1e8b")
    made = record(grid()[0], benchmark="zq7canary4d1e8b", traceback="zq7canary4d1e8b", machine="zq7canary4d1e8b")
    text = json.dumps(dashboards.build("zq7canary4d1e8b", [made], "rnn-harness"))
    assert "zq7canary" not in text and redact.HIDDEN in text


def test_without_the_optional_package_the_message_says_what_to_install() -> None:
    dashboards.check_installed(lambda package: "0.4.13")
    with pytest.raises(UserError) as raised:
        dashboards.check_installed(lambda package: "")
    told = str(raised.value)
    assert "wandb-workspaces" in told and "pip install 'rnn-harness[dashboards]'" in told


@pytest.mark.slow
def test_published_twice_is_published_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("HOME", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    for made in RECORDS[:3]:
        Store(tmp_path, "quick", made.fingerprint).write(made)
    command = ["wandb", "dashboard", str(tmp_path / "quick"), "--entity", "team", "--publish"]
    with serving() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        for _ in range(2):
            assert main(command) == 0, capsys.readouterr().err
            assert "reports/rnn-harness:-quick--view1" in capsys.readouterr().out
        assert sorted(server.charts) == sorted(chart.name for chart in charts.CHARTS)
        assert sorted(view["type"] for view in server.views.values()) == ["project-view", "runs"]
        assert all(view["entityName"] == "team" for view in server.views.values())
        server.behaviour = 500
        monkeypatch.setenv("WANDB__GRAPHQL_RETRY_MAX", "0")
        assert main(command) == 75
        told = capsys.readouterr().err
        assert told.count("error:") == 1 and "W&B did not take the dashboards" in told and "--publish" in told
