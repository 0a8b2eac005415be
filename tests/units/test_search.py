"""Searches: what a file says of one, what is drawn from it, and what all of its faults say."""

from __future__ import annotations

import json

import pytest

from harness import spec
from harness.errors import UserError
from harness.search import Choice, Range
from harness.trial import Trial, key_of

TEXT = """\
question: Which cell, each tuned as much as the other?
seeds: 2
set: {examples: 320, evaluations: 4}
sweep: {task: {name: adding, length: 10}, cell: [elman, lstm, feedforward]}
search:
  kind: random
  tries: 6
  space:
    learning_rate: {from: 0.001, to: 0.1, scale: log}
    hidden_size: {from: 8, to: 12}
    clip_norm: [0.5, 1.0, null]
"""


@pytest.fixture
def load(tmp_path):
    def loaded(text: str = TEXT, *overrides: str) -> spec.Benchmark:
        (tmp_path / "x.yaml").write_text(text)
        return spec.load(tmp_path / "x.yaml", overrides)

    return loaded


@pytest.fixture
def refused(load, tmp_path):
    """Load a text that must be refused; return its faults."""

    def faults(text: str, *overrides: str) -> list[str]:
        with pytest.raises(UserError) as caught:
            load(text, *overrides)
        path = str(tmp_path / "x.yaml")
        return [str(fault).replace(path, "x.yaml").replace("\n  ", " | ") for fault in caught.value.faults]

    return faults


def variant(trial: Trial) -> str:
    return key_of({key: value for key, value in trial.model_dump().items() if key in ("task", "cell")})


def test_random_tries_are_the_same_for_the_same_file_and_within_the_space(load):
    one, other = load(), load(TEXT.replace("6\n", "6\n  seed: 0\n").replace("adding, length: 10", "adding, length: 10"))
    assert [t.id for t in one.trials] == [t.id for t in other.trials]
    for trial in one.trials:
        assert 0.001 <= trial.learning_rate <= 0.1 and trial.hidden_size in range(8, 13)
        assert trial.clip_norm in (0.5, 1.0, None) and trial == trial.normalised()
    assert {t.id for t in load(TEXT.replace("tries: 6", "tries: 6\n  seed: 1")).trials}.isdisjoint(
        {t.id for t in one.trials}
    )


def test_every_variant_and_seed_has_as_many_tries_and_the_same_points(load):
    benchmark = load()
    assert len(benchmark.studies) == 3 * 2 and {study.budget for study in benchmark.studies} == {6}
    assert len({trial.id for trial in benchmark.trials}) == len(benchmark.trials) == 3 * 2 * 6
    points = {
        (variant(study.base), study.base.seed): [(t.learning_rate, t.hidden_size, t.clip_norm) for t in study.tries]
        for study in benchmark.studies
    }
    assert len(points) == 6 and len({str(each) for each in points.values()}) == 1


def test_a_sweep_that_stops_early_has_tried_every_variant(load):
    first = load().trials[:3]
    assert len({variant(trial) for trial in first}) == 3 and len({trial.learning_rate for trial in first}) == 1


def test_more_tries_go_on_where_fewer_ended(load):
    few, more = load(), load(TEXT.replace("tries: 6", "tries: 9"))
    assert {t.id for t in few.trials} < {t.id for t in more.trials}
    assert few.search.digest == more.search.digest


def test_what_cannot_matter_is_no_second_try(load):
    text = TEXT.replace("hidden_size: {from: 8, to: 12}", "bptt_length: [2, 4, 8]").replace("0.1, scale: log", "0.002")
    tries = [trial for trial in load(text).trials if trial.cell["name"] == "feedforward" and trial.seed == 0]
    assert len({trial.id for trial in tries}) == 6 and {trial.bptt_length for trial in tries} == {None}


def test_a_note_says_which_try_of_which_search(load):
    benchmark = load()
    said = json.loads(benchmark.studies[0].note(2))
    assert said == {
        "kind": "random", "search": benchmark.search.digest, "study": benchmark.studies[0].base.id,
        "try": 2, "tries": 6, "seed": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    "part", [Range(1e-4, 1e-1, log=True), Range(-1, 1), Range(3, 7, whole=True), Choice((1, None))]
)
def test_a_share_of_the_way_stays_within(part):
    found = [part.at(i / 1000) for i in range(1000)]
    if isinstance(part, Choice):
        assert {repr(value) for value in found} == {"1", "None"}
    else:
        assert min(found) >= part.low and max(found) <= part.high and found == sorted(found)
        assert not part.whole or all(found.count(n) in (199, 200, 201) for n in range(3, 8))  # evenly


def test_grid_says_nothing_new(load):
    plain = TEXT.partition("search:")[0]
    assert load(plain).trials == load(plain + "search: grid\n").trials == load(plain + "search: {kind: grid}\n").trials
    assert load(plain + "search: grid\n").search is None


def test_asha_takes_points_of_the_grid_or_of_a_space(load):
    plain = TEXT.partition("search:")[0].replace("feedforward]", "feedforward], learning_rate: [0.1, 0.01, 0.001]")
    over_grid = load(plain + "search: asha\n")
    assert len(over_grid.studies) == 6 and all(len(study.tries) == 3 for study in over_grid.studies)
    assert load(TEXT.replace("random", "asha")).trials == load().trials


def test_an_open_search_begins_with_its_variants(load):
    benchmark = load(TEXT.replace("random", "optuna"))
    assert len(benchmark.trials) == 6 and all(study.tries == () for study in benchmark.studies)


def test_a_match_is_solved_before_anything_is_searched(load):
    text = TEXT.replace("    hidden_size: {from: 8, to: 12}\n", "").replace("search:", "match: parameters\nsearch:")
    (kind,) = load(text).matched
    assert {key_of(trial.model_dump(mode="json")) for trial in load(text).trials} <= kind.fits.keys()


REFUSED = {
    ("kind: random", "kind: randm"): "x.yaml:6: search.kind: unknown search 'randm' | allowed: grid, random, optuna, "
    "asha, population | try: did you mean 'random'?",
    ("  kind: random\n", ""): "x.yaml:5: search.kind: no kind of search | allowed: grid, random, optuna, asha, "
    "population",
    ("tries: 6", "tries: 0"): "x.yaml:7: search.tries: got 0 | allowed: a whole number from 1 to 10,000",
    ("tries: 6", "tries: 20000"): "x.yaml:7: search.tries: got 20000 | allowed: a whole number from 1 to 10,000",
    ("  tries: 6\n", ""): "x.yaml:5: search: no tries, without which there is nothing to search | try: tries: 16",
    ("tries: 6", "tries: 6\n  grace: 2"): "x.yaml:8: search.grace: `grace` belongs to asha, not to random | allowed: "
    "kind, tries, space, seed",
    ("tries: 6", "tries: 6\n  trys: 2"): "x.yaml:8: search.trys: unknown key 'trys' | allowed: kind, tries, space, "
    "seed | try: did you mean 'tries'?",
    ("from: 0.001, to: 0.1", "from: 0.1, to: 0.001"): "x.yaml:9: search.space.learning_rate: a range from 0.1 to 0.001 "
    "| allowed: from below to | try: from: 0.001, to: 0.1",
    ("from: 0.001, to: 0.1, scale: log", "from: 0.001"): "x.yaml:9: search.space.learning_rate: a range without `to` | "
    "allowed: {from: 0.001, to: 0.1}, and scale: log if wanted",
    ("scale: log", "scale: logg"): "x.yaml:9: search.space.learning_rate.scale: unknown scale 'logg' | allowed: "
    "linear, log | try: did you mean 'log'?",
    ("from: 0.001", "from: 0.0"): "x.yaml:9: search.space.learning_rate.from: got 0.0 | allowed: a number greater than "
    "0",
    ("to: 12", "to: 12.5"): "x.yaml:10: search.space.hidden_size.to: got 12.5 | allowed: a whole number from 1 to "
    "65,536",
    ("[0.5, 1.0, null]", "1.0"): "x.yaml:11: search.space.clip_norm: got 1.0, which leaves nothing to search | "
    "allowed: a list of values, or {from, to}",
    ("[0.5, 1.0, null]", "[0.5, 0.5]"): "x.yaml:11: search.space.clip_norm: a value stands in the list twice | "
    "allowed: distinct values",
    ("clip_norm", "threads"): "x.yaml:11: search.space.threads: `threads` is not searched: it changes the time alone "
    "| try: set it in `set` or `sweep`",
    ("random", "population"): "x.yaml:10: search.space.hidden_size: `hidden_size` cannot change while a trial trains | "
    "allowed: learning_rate, clip_norm, clip_value, clip_layer_norm, clip_agc | try: list its values in `sweep`",
    ("evaluations: 4", "evaluations: 4, clip_norm: 1"): "x.yaml:11: search.space.clip_norm: `clip_norm` is set in the "
    "grid and searched | allowed: one of the two | try: take it out of `set`, `sweep` or --set",
    ("search:", "match: parameters\nsearch:"): "x.yaml:11: search.space.hidden_size: `hidden_size` is searched, and "
    "`match` solves the size of the network | allowed: one of the two | try: remove hidden_size from the space",
    ("kind: random", "kind: asha\n  grace: 4"): "x.yaml:7: search.grace: grace: 4 of 4 evaluations: no try would be "
    "stopped before its end | allowed: 1 to 3 | try: or more `evaluations`",
}  # fmt: skip


@pytest.mark.parametrize(("old", "new"), REFUSED)
def test_each_fault_says_what_to_type(refused, old, new):
    assert old in TEXT and REFUSED[old, new] in refused(TEXT.replace(old, new))


def test_a_space_with_fewer_points_than_tries_says_how_many_it_has(refused):
    text = TEXT.partition("  space:")[0] + "  space: {clip_norm: [0.5, 1.0]}\n"
    (first, *_) = refused(text)
    assert first == (
        "x.yaml:8: search.space: cell 'elman' on task 'adding' has about 2 different points in this space | "
        "allowed: at most 2 tries | try: tries: 2"
    )


def test_other_faults_of_a_search(refused):
    assert refused(TEXT, "learning_rate=0.1")[0].startswith("x.yaml:9: search.space.learning_rate: `learning_rate` is")
    empty = TEXT.partition("  space:")[0] + "  space: {}\n"
    assert refused(empty)[0].startswith("x.yaml:8: search.space: an empty space")
    alone = TEXT.replace("random", "asha").partition("  space:")[0]
    assert refused(alone)[0].startswith("x.yaml:7: search.tries: tries without space")
    many = TEXT.replace("tries: 6", "tries: 9999").replace("seeds: 2", "seeds: 9")
    assert "269,973 trials" in refused(many)[0]
    clash = TEXT.replace("hidden_size: {from: 8, to: 12}", "bptt_stride: {from: 4, to: 9}").replace(
        "evaluations: 4", "evaluations: 4, bptt_length: 8"
    )
    assert any("search.space: at {" in fault and "bptt_stride: 9 steps" in fault for fault in refused(clash))
