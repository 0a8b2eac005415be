"""Tasks on real data: a data set, or a user's own files, read and numbered once and memory-mapped ever after."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

from pydantic import Field, model_validator

from harness.data import sources
from harness.data.own import content_hash, is_path
from harness.data.prepared import Content, Place, Prepared, place_of, prepared
from harness.errors import Fault, nearest
from harness.tasks.base import Examples, Shape, Split, Task, Usual


class PreparedTask(Task):
    """A task whose data come from files. A subclass names them in `sets` and reads them in `prepare`.

    `data` names a data set of `sets`, or is a path to files of the user's own, whose content then is part of the
    trial: `sha256` is filled in, so that other content is another trial.
    """

    data: str
    sha256: str = Field("", description="content of your own files; filled in")

    sets: ClassVar[dict[str, tuple[str, ...]]]
    """Value of `data` -> "source/file" for each file that it is read from (harness/data/sets/)."""

    @model_validator(mode="after")
    def _known(self) -> PreparedTask:
        if self.data not in self.sets and not is_path(self.data):
            hint = nearest(self.data, self.sets)
            raise ValueError(
                f"no data set {self.data!r}; allowed: {', '.join(self.sets)}, or a path {hint or ''}".strip()
            )
        return self

    @property
    def own(self) -> bool:
        """Whether the data are the user's own files."""
        return self.data not in self.sets

    @abstractmethod
    def prepare(self) -> Content:
        """Read the files of `data` and return numbered splits, sizes, floor and what else the task must know.

        Vocabulary and normalisation come from the training split alone. Called once a machine for each value of the
        settings that matter (`key`).
        """

    def key(self) -> dict[str, Any]:
        """Settings that decide what is prepared: all, unless a subclass leaves some out."""
        return self.model_dump(mode="json")

    def plain(self) -> dict[str, Any]:
        """As Plugin.plain, with the content of the user's own files."""
        return {**super().plain(), **({"sha256": content_hash(self.data)} if self.own else {})}

    @cached_property
    def place(self) -> Place:
        """Where the prepared data lie, or will."""
        key = {"task": self.plugin_name(), **self.key()}
        if self.own:
            key["sha256"] = content_hash(self.data)
        return place_of(key, self.sets.get(self.data, ()), type(self))

    @cached_property
    def ready(self) -> Prepared:
        """The prepared data, opened; prepared now if no trial of this machine has done it."""
        return prepared(self.place, self.prepare)

    def absent(self) -> list[Fault]:
        files: dict[str, list[str]] = {}
        for file in () if self.own or self.place.ready() else self.sets[self.data]:
            files.setdefault(file.partition("/")[0], []).append(file.partition("/")[2])
        return [sources.absent(name) for name, wanted in files.items() if not sources.here(name, wanted)]

    @property
    def facts(self) -> dict[str, Any]:
        """What `prepare` left besides arrays: vocabularies, labels, statistics."""
        return self.ready.facts

    @property
    def shape(self) -> Shape:
        return self.ready.shape

    def usual(self, batch_size: int, together: bool) -> Usual:
        if self.stream:
            return super().usual(batch_size, together)
        read, written = (_longest(*counts, 1) for counts in self.ready.counts)
        padded = (read, written) if together else (_longest(*counts, batch_size) for counts in self.ready.counts)
        return Usual(read, written, *padded)

    def load(self, split: Split, seed: int) -> Examples:
        return self.ready.split(split)

    def floor(self) -> float:
        return self.ready.floor


def _longest(values: Sequence[int], counts: Sequence[int], draws: int) -> float:
    """Mean of the largest of so many draws: values in order, and how often each is there."""
    below, total, mean = 0, sum(counts), 0.0
    for value, count in zip(values, counts, strict=True):
        mean += value * (((below + count) / total) ** draws - (below / total) ** draws)
        below += count
    return mean
