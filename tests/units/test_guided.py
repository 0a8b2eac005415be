"""Trials that a search guides: settings that change on the way, and states that are handed on, to the last bit."""

from __future__ import annotations

import pytest
from stopping import same, stopped, whole

from harness.engine import run_trial
from harness.errors import UserError
from harness.training.guided import Beginning, Guided, Member
from harness.trial import Trial

TRIAL = Trial(
    task={"name": "adding", "length": 10}, cell={"name": "lstm"}, hidden_size=6, examples=640, batch_size=32,
    evaluations=5, probe_every=4, dropout=0.2, layers=2, clip_norm=1.0, learning_rate=0.01,
).normalised()  # fmt: skip
CHANGES = [{"at": 8, "learning_rate": 0.03, "clip_norm": 0.5}, {"at": 12, "learning_rate": 0.002}]
CHANGED = TRIAL.model_copy(update={"changes": CHANGES})


def handed_on(trial: Trial, begin: Beginning, evaluation: int):
    """Train to the end; return where it stood at an evaluation, and what was trained."""
    states: dict[int, bytes] = {}
    kept: list[bytes] = []

    def heard(guided: Guided) -> None:
        assert isinstance(guided, Member)
        states[len(guided.curve)] = guided.state

    record = run_trial(trial, keep=kept.append, keeper=Member(heard, lambda bound: begin, None, 3600, None))
    return Beginning(evaluation, states.get(evaluation, b"")), (record, kept)


def test_a_change_changes_what_comes_after_it_and_nothing_before():
    plain, changed = whole(TRIAL)[0], whole(CHANGED)[0]
    assert plain.trial_id != changed.trial_id and TRIAL.canonical() == Trial(**TRIAL.model_dump()).canonical()
    assert plain.gradient_norms[:9] == changed.gradient_norms[:9] != plain.gradient_norms
    assert plain.gradient_norms[9] != changed.gradient_norms[9]
    assert plain.curve_valid_score[:2] == changed.curve_valid_score[:2]


def test_changes_that_change_nothing_compute_the_same():
    nothing = TRIAL.model_copy(update={"changes": [{"at": 4, "learning_rate": TRIAL.learning_rate}]})
    (one, weights), (other, others) = whole(TRIAL), whole(nothing)
    assert weights == others and one.score == other.score


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_changing_trial_stopped_after_any_update_goes_on_to_the_same_bits(tmp_path, schedule):
    trial = CHANGED.model_copy(update={"schedule": schedule})
    assert same(stopped(trial, tmp_path, [7, 8, 9, 12, 13]), whole(trial))


def test_who_goes_on_from_anothers_state_is_the_same_trial_as_one_alone():
    """An exchange copies weights, optimiser, generators and data cursor exactly: the schedule alone gives it again."""
    state, first = handed_on(TRIAL, Beginning(), 2)
    assert same(first, whole(TRIAL))  # being watched changes nothing
    second = TRIAL.model_copy(update={"changes": CHANGES[:1]})
    later, _ = handed_on(second, state, 3)
    assert same(handed_on(CHANGED, later, 4)[1], whole(CHANGED))
    assert same(handed_on(CHANGED, Beginning(3), 4)[1], whole(CHANGED)), "a state that is lost is made anew"


def test_settings_that_hold_follow_from_the_updates_made():
    rates = [CHANGED.after(updates).learning_rate for updates in (0, 7, 8, 11, 12, 99)]
    assert rates == [0.01, 0.01, 0.03, 0.03, 0.002, 0.002]


def test_a_state_of_something_else_is_no_beginning():
    state, _ = handed_on(TRIAL, Beginning(), 2)
    other = TRIAL.model_copy(update={"hidden_size": 7})
    record = run_trial(other, keeper=Member(lambda guided: None, lambda bound: state, None, 3600, None))
    assert record.status == "failed" and "does not fit" in record.reason


def test_a_file_cannot_set_changes(tmp_path):
    from harness import spec

    (tmp_path / "x.yaml").write_text("question: Q?\nset: {task: adding, cell: gru, examples: 9, changes: []}\n")
    with pytest.raises(UserError, match="`changes` is not set here"):
        spec.load(tmp_path / "x.yaml")
