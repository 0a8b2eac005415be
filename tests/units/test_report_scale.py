"""A report over very many trials: quick, small in memory and on the page, and still right."""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64decode
from pathlib import Path

import pytest
from many_records import SIZES, benchmark, measured, stored, trials
from report_records import DIGITS, diverged, record, told

from harness import report
from harness.report.to_html import PAGE
from harness.report.variants import INDIFFERENT, unused
from harness.trial import Trial


def many(count: int = 260) -> list[Trial]:
    return [Trial(task=DIGITS, cell={"name": "gru"}, learning_rate=k / 1e4, examples=100) for k in range(1, count + 1)]


def test_of_very_many_variants_the_page_holds_a_page_and_the_rest_packed(tmp_path: Path) -> None:
    asked = many()
    made = report.make("many", "Which rate?", [record(t) for t in asked], asked)
    page = report.write(made, tmp_path, ["html"])["html"].read_text()
    assert page.count('<tr class="row"') == 3 * PAGE and f"rows 1 to {PAGE} of 260" in page
    held = re.search(r'<script type="application/octet-stream" class="rows">([^<]*)</script>', page)
    assert held
    told_ = json.loads(gzip.decompress(b64decode(held[1])))
    assert told_["sizes"] == [260] and len(told_["tables"]) == 3
    column = next(c for c in told_["tables"][0] if len(c["values"]) == 260 and "rows" not in c)
    (group,) = made.machines[0].groups
    assert {value[0] for value in column["values"]} & {
        f"{row.variant.settings['learning_rate']:g}" for row in group.rows
    }


def test_other_formats_say_how_many_rows_they_leave_out() -> None:
    asked = many()
    shown = told([record(t) for t in asked], asked)
    assert "The best 200; 60 more rows stand in the CSV." in shown["md"]
    assert "The best 100 of 260 rows" in " ".join(shown["terminal"].split())


def test_of_very_many_lost_trials_a_few_are_told_and_the_rest_counted() -> None:
    asked = many(80)
    shown = told([diverged(t, reason=f"loss {t.learning_rate} is over 1,000 times the first") for t in asked], asked)
    assert shown["md"].count("diverged at update 17") == 50
    assert "30 more trials of 80 that did not end well: 30 diverged (loss # is over # times the first)" in shown["md"]


OTHER = {
    "clip_norm": 0.5, "clip_value": 0.5, "clip_layer_norm": 0.5, "clip_agc": 0.5, "learning_rate": 0.5,
    "optimizer": "sgd", "schedule": "cosine", "weight_decay": 0.1, "examples": 7, "tokens": None, "hidden_size": 3,
    "seed": 5,
}  # fmt: skip


@pytest.mark.parametrize(
    "task", [DIGITS, {"name": "adding", "length": 16}, {"name": "reversal"}, {"name": "countdown"}]
)
@pytest.mark.parametrize("cell", ["lstm", "feedforward", "mingru"])
@pytest.mark.parametrize("more", [{}, {"bptt_length": 4, "layers": 2}, {"bidirectional": True}])
def test_whether_a_setting_can_matter_is_indifferent_to_those_that_are_left_out_of_the_question(
    task, cell, more
) -> None:
    """`unused` is asked once for all variants that differ in INDIFFERENT alone."""
    assert OTHER.keys() == INDIFFERENT
    trial = Trial(task=task, cell={"name": cell}, examples=100, **more)
    wanted = truly_unused(trial)
    assert unused(trial.model_dump(mode="json"), []) == wanted
    for name, value in OTHER.items():
        assert truly_unused(trial.model_copy(update={name: value})) == wanted, name


def truly_unused(trial: Trial) -> frozenset[str]:
    from harness.report.variants import _TRIED

    pairs = {key: [trial.model_copy(update={key: v}).normalised() for v in two] for key, two in _TRIED.items()}
    return frozenset(key for key, (one, other) in pairs.items() if one == other)


@pytest.mark.slow
def test_a_report_over_a_hundred_thousand_records_takes_30_s_and_1_gb(tmp_path: Path) -> None:
    """By three tenths of them, for making them all would take longer than the rest: a fixed part, of drawing and
    imports, and three tenths of what is left of 30 s and 1 GB. Of a folder, and of a benchmark that asks for them."""
    folder = tmp_path / "many"
    assert stored(folder / "test-2c-01234567", 10, SIZES[:3]) == 30_000
    (tmp_path / "many.yaml").write_text(benchmark(SIZES[:3]))
    seconds, room = 6 + 0.3 * (30 - 6), 0.25e9 + 0.3 * (1e9 - 0.25e9)
    for words in ((folder,), (tmp_path / "many.yaml", "--results", tmp_path)):
        code, _, took, peak = measured(*words)
        # seconds of a processor that others share are longer ones
        assert code == 5 and took < 1.5 * seconds and peak < 1.15 * room, (words, took, peak)
        assert (folder / "many.html").stat().st_size < 5e6
    assert "30,000 of 30,000 trials stored" in (folder / "many.md").read_text()


def test_the_grid_is_a_hundred_thousand_trials_of_ten_thousand_variants() -> None:
    asked = list(trials(1, SIZES[:1]))
    assert len({t.id for t in asked}) == len(asked) == 1_000 and len(SIZES) * 10 * 1_000 == 100_000
