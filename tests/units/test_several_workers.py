"""Several workers of a trial compute what one computes: the same updates, the same card, the same scores."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch
from together import Together, trained

from harness.data.batches import Batch
from harness.data.parts import Parts, part, rows
from harness.engine import run_trial
from harness.errors import UserError
from harness.record import TIMED, Record
from harness.trial import Trial

BASE: dict[str, Any] = {
    "hidden_size": 5, "layers": 2, "learning_rate": 0.02, "clip_norm": 0.3, "probe_every": 4, "evaluations": 3,
    "precision": "float64", "batch_size": 7,
}  # fmt: skip
SIZES = {"train_examples": 60, "valid_examples": 20, "test_examples": 20}
TRIALS: dict[str, dict[str, Any]] = {
    # of unlike lengths, by windows that end inside them
    "ragged": {"task": {"name": "sentiment", "data": "texts.tsv"}, "bptt_length": 4, "examples": 135},
    "tagged": {"task": {"name": "pos", "data": "tagged.txt", "least": 1}, "bptt_length": 4, "examples": 135},
    "by a CRF": {"task": {"name": "ner", "data": "tagged.txt", "least": 1}, "examples": 135},
    # lanes that carry their state and look back, and the last batch cut short
    "stream": {
        "task": {"name": "autocomplete", "characters": 1_000}, "bptt_length": 12, "bptt_stride": 9, "tokens": 1_200
    },
    # the last batch has too few rows for three
    "rows for some": {"task": {"name": "digits", "steps": 8}, "batch_size": 4, "examples": 77},
    "both directions": {
        "task": {"name": "digits", "steps": 8}, "bidirectional": True, "bptt_length": 3, "examples": 135
    },
    "written": {"task": {"name": "reversal", "length": 4, **SIZES}, "attention": "dot", "examples": 135},
}  # fmt: skip
ONLY_OF_ONE = {"weights_sha256", "activation_bytes", "bytes_per_update", "trial", "trial_id", "communication_share"}
"""Fields that are not the same by nature: bytes of weights, memory of one process and what it moves, settings."""


def trial(kind: str, cell: str, workers: int = 1, **more: Any) -> Trial:
    return Trial(**BASE | {"cell": {"name": cell}, "workers": workers} | TRIALS[kind] | more).normalised()


@cache
def alone(kind: str, cell: str) -> Record:
    return run_trial(trial(kind, cell))


@pytest.fixture(scope="module", autouse=True)
def sentences(tmp_path_factory) -> Iterator[None]:
    """Sentences of 1 to 9 words, with a label each or with tags, in the folder where all of this happens."""
    folder, rng, words = tmp_path_factory.mktemp("sentences"), random.Random(0), [*map(str.title, "abcd"), *"efghij"]
    rows = [[rng.choice(words) for _ in range(rng.randint(1, 9))] for _ in range(150)]
    folder.joinpath("texts.tsv").write_text("".join(f"{' '.join(row)}\t{row[0] < 'd'}\n" for row in rows))
    tags = {word: "B-name" if word.istitle() else "O" for word in words}
    lines = ("".join(f"{word} {tags[word]}\n" for word in row) for row in rows)
    folder.joinpath("tagged.txt").write_text("\n".join(lines))
    with contextlib.chdir(folder):
        yield


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=pytest.mark.slow)])
def together(request, tmp_path_factory) -> Iterator[Together]:
    group = Together(request.param, tmp_path_factory.mktemp("group"))
    yield group
    group.close()


def close(one: Any, other: Any) -> bool:
    """Whether plain values are equal, and floats to 1e-5."""
    if isinstance(one, float) and isinstance(other, float):
        return (math.isnan(one) and math.isnan(other)) or math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-9)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(close, one, other))
    return bool(one == other)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("kind", TRIALS)
def test_several_workers_are_one_worker_to_1e_5_over_20_updates(kind, cell, together):
    expected, count = alone(kind, cell), len(together.processes)
    assert expected.status == "ok" and expected.updates >= 18 and expected.clipped_share > 0, expected.traceback
    records = together(trained, trial(kind, cell, count))
    found = records[0]
    assert found.status == "ok", found.traceback
    different = {
        name: (value, found.plain()[name])
        for name, value in expected.plain().items()
        if name not in TIMED | ONLY_OF_ONE and not close(value, found.plain()[name])
    }
    assert not different
    assert len({record.weights_sha256 for record in records}) == 1, "all end with the same weights"


def test_the_rows_of_all_workers_are_all_rows_in_order():
    for count in range(12):
        for workers in range(1, 6):
            shares = [rows(count, rank, workers) for rank in range(workers)]
            assert [i for share in shares for i in range(count)[share]] == list(range(count))
            sizes = [share.stop - share.start for share in shares]
            assert max(sizes) - min(sizes) <= 1


def test_a_part_is_as_long_as_the_whole_batch_and_knows_it():
    lengths = torch.tensor([2, 5, 3])
    batch = Batch(torch.arange(15).reshape(3, 5), torch.arange(3), lengths, torch.tensor([True, False, True]), 4)
    own = part(batch, 1, 2)
    assert own.inputs.tolist() == [[10, 11, 12, 13, 14]] and own.lengths.tolist() == [3] and own.advance == 4
    assert own.full is batch and own.resets is not None and own.resets.tolist() == [True] and batch.full is batch


def test_too_few_rows_to_score_are_said():
    few = Batch(torch.zeros(2, 3), torch.zeros(2), torch.tensor([3, 3]))
    with pytest.raises(ValueError, match="3 workers have 2 rows to score"):
        list(Parts([few], 0, 3, scored=True))


def test_one_worker_has_the_id_that_it_always_had_and_several_have_another():
    asked = trial("ragged", "lstm")
    assert "workers" not in asked.canonical() and trial("ragged", "lstm", 2).id != asked.id


def test_more_workers_than_rows_are_refused():
    with pytest.raises(UserError, match=r"workers: 8 share batches of 7") as error:
        trial("ragged", "lstm", 8).check()
    assert "1 to batch_size (7)" in str(error.value)
