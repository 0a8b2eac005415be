"""run_pack: Trials of one shape in, their Records out, trained as one program and evaluated each by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from harness.data.groups import Groups
from harness.data.loaders import whole
from harness.engine import Begun, begin, blank, closed, make_trainer, observed, train
from harness.models import weights
from harness.models.kernel import kernel_of
from harness.pack.beside import Batches, Evaluations, Members
from harness.pack.captured import Graphs, graphs_of, how
from harness.pack.dropping import drawing_from
from harness.pack.module import Pack
from harness.record import Record
from harness.training import efficiency
from harness.training.controlled import controlled
from harness.training.keeper import Keeper
from harness.training.workers import Workers
from harness.trial import Trial

Finished = Callable[[Trial, Record, bytes], None]
"""Takes a trial's record and, of one that ended well, its trained weights as a file."""


def run_pack(
    trials: Sequence[Trial],
    benchmark: str,
    keepers: Sequence[Keeper],
    finished: Finished,
    device: str = "cpu",
    graphs: Graphs | None = None,
) -> None:
    """Train trials of one shape (plan.py) side by side on a device, and tell `finished` of each as it ends.

    Those that stand at one update go on together: after a kill between two checkpoints there may be two such groups.
    Raises Paused where a stop was asked for; then every trial that trained is at a checkpoint. What is not one trial's
    fault but the pack's is raised as well: each trial can still be run by itself, from its own checkpoint.
    `graphs` records updates and repeats them; a GPU has its own.
    """
    normalised, memory_used = [trial.normalised() for trial in trials], efficiency.Memory()
    workers = Workers(device=device)
    graphs = graphs or graphs_of(workers.device)
    try:
        with controlled(normalised[0], workers):
            begun = [_begin(trial, workers) for trial in normalised]
            places: dict[tuple[int, int], list[int]] = {}
            for place, (each, keeper) in enumerate(zip(begun, keepers, strict=True)):
                done = keeper.open(each.course, each.data_sha256)
                places.setdefault((len(each.course.loader), done), []).append(place)
            for (_, done), members in places.items():
                found = _train([begun[p] for p in members], [keepers[p] for p in members], done, graphs)
                for place in members:  # all before the first is stored, which takes the others no time
                    keepers[place].close()
                for place, fields in zip(members, found, strict=True):
                    keeper, model = keepers[place], begun[place].course.module.model
                    record = blank(normalised[place], benchmark, workers).replace(**fields)
                    trained = weights.packed(model) if record.status == "ok" else b""
                    finished(trials[place], closed(record, normalised[place], keeper, memory_used, workers), trained)
    finally:
        for keeper in keepers:
            keeper.close()


def _begin(trial: Trial, workers: Workers) -> Begun:
    """As alone, from the trial's own seed; what is drawn afterwards is drawn from a generator of its own."""
    torch.manual_seed(workers.seed(trial.seed))
    begun = begin(trial, workers)
    begun.course.module.generator = torch.Generator()
    begun.course.module.generator.set_state(torch.get_rng_state())
    return begun


def _train(begun: Sequence[Begun], keepers: Sequence[Keeper], done: int, graphs: Graphs | None) -> list[dict[str, Any]]:
    """Train a pack of which `done` updates were made before; return what was observed of each trial."""
    if len(begun) == 1:
        torch.set_rng_state(begun[0].course.module.generator.get_state())
        begun[0].course.module.generator = torch.default_generator
        return [train(begun[0], keepers[0], done)]
    workers = begun[0].course.module.workers
    for each in begun:
        each.course.module.to(workers.device)
    pack = Pack([each.course for each in begun], keepers, graphs)
    own = [_look(each) for each in (begun if pack.drops else begun[:1])]
    groups = Groups(Batches(pack), begun[0].course.module.trial.evaluations, done)
    valid = Evaluations(pack, [whole(each.course.module.task, each.data["valid"]) for each in begun])
    make_trainer([], groups, [Members(pack)], workers).fit(pack, groups, valid)
    kernel = f"{pack.stacked.kernel or own[0]}, {len(begun)} trials{how(pack.ran)}"
    found = [observed(each, make_trainer(each.course.probes, groups, workers=workers), kernel) for each in begun]
    return [fields | {"packed": len(begun)} for fields in found]


def _look(begun: Begun) -> str:
    """Make the forward pass by which a trial alone sees its kernel (engine.py): units are dropped in it, too."""
    module = begun.course.module
    first = (each._replace(resets=None) for each in whole(module.task, begun.data["train"], 1))
    with drawing_from(module.generator):
        return kernel_of(module.model, (module.transfer_batch_to_device(each, module.device, 0) for each in first))
