"""Laws of published numbers: each says all that a reader must know, and is about settings that exist here."""

from __future__ import annotations

import pytest

from harness import references, registry
from harness.metrics import METRICS
from harness.references import Reference
from harness.tasks._prepared import PreparedTask
from harness.trial import Trial

TASKS = registry.members("harness.tasks")
CELLS = registry.members("harness.cells")
ENTRIES = [(task, entry) for task in references.names() for entry in references.ledger(task).published]
# a task's name as a parameter would skip what reads no data where there are none
every_entry = pytest.mark.parametrize("stated", ENTRIES, ids=lambda stated: f"{stated[0]}-{stated[1].model}")
SHARES = {"accuracy", "entity_f1", "pronunciation_error_rate", "phone_error_rate", "word_error_rate", "skill"}
SHARES |= {"rouge_1", "rouge_2", "rouge_l"}


def settings_of(task: str) -> set[str]:
    """Names that a flat Trial of a task has."""
    return {"cell", *Trial.model_fields, *(f"task.{name}" for name in TASKS[task].model_fields)}


@pytest.mark.parametrize("kind", [kind for kind in TASKS.values() if issubclass(kind, PreparedTask)])
def test_each_data_set_of_a_task_has_a_published_number_or_a_reason_why_not(kind):
    name = kind.plugin_name()
    ledger = references.ledger(name)
    shown = {data for entry in ledger.published for data in entry.about.get("data", ())}
    assert shown | set(ledger.unpublished) == set(TASKS[name].sets), f"harness/references/{name.replace('-', '_')}.yaml"
    assert not shown & set(ledger.unpublished)
    assert all(len(why) > 20 for why in ledger.unpublished.values())


def test_each_file_is_of_a_task():
    assert set(references.names()) <= set(TASKS)


@every_entry
def test_a_number_is_in_the_unit_of_a_known_metric_of_the_task(stated: tuple[str, Reference]):
    _, entry = stated
    assert entry.metric in METRICS and METRICS[entry.metric].better
    assert 0 < entry.value < (1 if entry.metric in SHARES else 10_000)


@every_entry
def test_settings_exist_and_take_these_values(stated: tuple[str, Reference]):
    """A misspelt name would make everything comparable, or nothing."""
    task, entry = stated
    known = settings_of(task)
    wanted = [entry.like, *entry.needs.values()]
    assert {key for settings in wanted for key in settings} <= known
    assert {f"task.{name}" for name in entry.about} <= known
    assert entry.like.get("cell", "lstm") in CELLS
    for name, values in entry.about.items():
        for value in values:
            registry.build("task", {"name": task, name: value})
    for settings in wanted:
        own = {key: value for key, value in settings.items() if key != "cell" and not key.startswith("task.")}
        Trial(task={"name": task}, cell={"name": "lstm"}, examples=1, **own)
        of_task = {key.removeprefix("task."): v for key, v in settings.items() if key.startswith("task.")}
        registry.build("task", {"name": task, **of_task})


@every_entry
def test_who_published_it_and_how_it_was_verified_is_said(stated: tuple[str, Reference]):
    _, entry = stated
    assert len(entry.cite) > 10 and entry.verified in ("seen", "stored notes", "recalled")
    assert entry.model and all(entry.differs.values())


def test_a_task_says_what_is_published_on_its_data():
    found = registry.build("task", {"name": "music", "data": "nottingham"}).references
    assert {(r.model, r.value) for r in found} >= {("LSTM", 3.29), ("GRU", 3.46)} and len(found) == 5
    assert registry.build("task", {"name": "adding"}).references == ()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"verified": "surely"}, "verified"),
        ({"value": float("nan")}, "value"),
        ({"cite": ""}, "cite"),
        ({"differs": {"weather": "rain"}}, "differs"),
        ({"colour": 1}, "colour"),
        ({"spread": (2.0, 3.0)}, "outside"),
    ],
)
def test_an_entry_that_says_too_little_or_nonsense_is_refused(change, what):
    plain = {"model": "m", "metric": "mse", "value": 1.0, "cite": "somebody, somewhere", "verified": "seen"}
    assert Reference(**plain).value == 1.0
    with pytest.raises(ValueError, match=what):
        Reference(**{**plain, **change})
