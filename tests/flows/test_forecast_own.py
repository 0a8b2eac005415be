"""A user's own CSV is learned by `harness run` and forecast by `harness sample`; one that is wrong names its lines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.cli.main import main

ROWS = 400
YAML = """question: What is the temperature of the next three hours?
set: {cell: lstm, hidden_size: 24, learning_rate: 0.01, schedule: cosine, examples: 6000, evaluations: 1}
sweep:
  - task: {name: timeseries, data: shop.csv, target: heat, lookback: 16, horizon: 3, values: VALUES, mapping: MAPPING}
"""


def rows(first: int, last: int) -> str:
    hours = np.datetime64("2020-01-01T00") + np.arange(first, last)
    heat = 50 + 10 * np.sin(np.arange(first, last) * np.pi / 6)
    return "\n".join(["hour,people,heat", *(f"{hour},7,{value:.3f}" for hour, value in zip(hours, heat, strict=True))])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("shop.csv").write_text(rows(0, ROWS))
    return tmp_path


@pytest.mark.parametrize(("values", "mapping"), [("levels", "many-to-one"), ("offsets", "many-to-many")])
def test_what_follows_a_file_is_forecast_in_its_own_units(values, mapping, folder, capsys) -> None:
    Path("x.yaml").write_text(YAML.replace("VALUES", values).replace("MAPPING", mapping))
    assert main(["run", "x.yaml", "--on", "inline", "--wandb", "off"]) == 0, capsys.readouterr().err
    report = Path("results/x/x.md").read_text()
    assert "| skill ↑ |" in report
    Path("now.csv").write_text(rows(0, ROWS + 5))
    (record,) = Path("results").glob("x/*/*.parquet")
    capsys.readouterr()
    assert main(["sample", str(record), "--input", "now.csv"]) == 0
    (got,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("got"))
    heat = 50 + 10 * np.sin(np.arange(ROWS + 4, ROWS + 8) * np.pi / 6)
    wanted = heat[1:] if values == "levels" else heat[1:] - heat[0]
    assert np.abs(np.array(got.split()[1:], float) - wanted).max() < 2
    assert main(["sample", str(record), "--input", "none.csv"]) == 2
    assert "none.csv: No such file" in capsys.readouterr().err


def test_lines_that_are_wrong_are_named_before_anything_is_trained(folder, capsys) -> None:
    lines = rows(0, ROWS).split("\n")
    lines[4], lines[8] = lines[4].replace(".", ","), lines[7]
    Path("shop.csv").write_text("\n".join(lines))
    Path("x.yaml").write_text(YAML.replace("VALUES", "levels").replace("MAPPING", "many-to-one"))
    assert main(["run", "x.yaml", "--on", "inline", "--wandb", "off"]) == 2
    told = capsys.readouterr().err
    assert "shop.csv:5: 4 cells" in told and "shop.csv:9: the date of line 8 again" in told
    assert not list(Path(".").glob("results/x/*/*.parquet"))
