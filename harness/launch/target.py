"""Where the records of a run go, and what of a benchmark is over."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness import machine
from harness.record import Record, reads
from harness.search import early
from harness.stop import Stop
from harness.storage.objects import Place, place
from harness.storage.store import Store


@dataclass(frozen=True)
class Target:
    """Where the records of a benchmark go, and what else its trials share; plain data, for it travels to workers."""

    root: str
    benchmark: str
    fingerprint: str
    wandb: bool
    weights: bool = True
    checkpoint_seconds: float | None = None  # between two checkpoints of a trial; None: as the keeper thinks fit
    stop: Stop | None = None
    nodes: bool = False  # on a cluster: each kind of node keeps the records that it makes under its own fingerprint
    search: str = ""  # digest of the search that decides on trials
    notes: Mapping[str, str] = field(default_factory=dict)  # trial id -> what its record says of its search
    shared: str = ""  # on a cluster: a folder that every node must see
    scratch: str = ""  # of a local Ray: a folder that all its processes have while it lasts
    gpus: float = 0.0  # share of a GPU that each trial trains on; 0: they train on CPUs
    gpu_wait: float = 0.0  # seconds that are worth waiting until a cluster has brought a node with one

    def within(self, scratch: str) -> Target:
        """Return the same on a Ray that has this scratch folder."""
        if self.nodes:
            return replace(self, shared="" if self.objects else scratch)
        return replace(self, scratch=scratch)

    @property
    def stopped(self) -> bool:
        """Whether the run was asked to stop, so that no other trial starts."""
        return self.stop is not None and self.stop.asked

    @property
    def device(self) -> str:
        """The kind of device that trials train on."""
        return "cuda" if self.gpus else "cpu"

    def store(self) -> Store:
        """Open the store of this machine."""
        own = machine.fingerprint(self.device) if self.nodes else self.fingerprint
        return Store(self.root, self.benchmark, own)

    def stores(self) -> list[Store]:
        """Open every store whose records count: this machine's, and on a cluster those of each kind of node."""
        own = self.store()
        found = sorted(path.name for path in self.folder.glob("[!.]*") if path.is_dir()) if self.nodes else []
        return [own, *(Store(own.root, self.benchmark, name) for name in found if name != own.folder.name)]

    def stored(self) -> set[str]:
        """Return the ids of all trials whose records count."""
        return {trial_id for store in self.stores() for trial_id in store.ids()}

    def ended(self) -> set[str]:
        """Return the ids of all trials that are over here: run to their end, or stopped early by the search that is on.
        Whether `stored` has all of them is another matter."""
        suffix = early("", self.search)
        return {name.removesuffix(suffix) if self.search else name for name in self.stored()}

    def searches(self) -> set[str]:
        """What all records say of their searches."""
        return {record.search for store in self.stores() for record in store.read_all(reads())}

    def read(self, trial_id: str) -> Record | None:
        """Return the record of a trial; of one that has none for its whole budget, that of its early stop."""
        for name in (trial_id, early(trial_id, self.search)):
            if held := self.holding(name):
                return held.read(name)
        return None

    def holding(self, trial_id: str) -> Store | None:
        """Return the store that has the record of a trial."""
        return next((store for store in self.stores() if store.has(trial_id)), None)

    def records(self, ids: Sequence[str], columns: Collection[str] | None = None) -> list[Record]:
        """Return the records of trials in their order, with the fields named in `columns`, or all; of a trial that
        several kinds of node have, this machine's, or the first. Raises KeyError where there is none."""
        found: dict[str, Record] = {}
        for store in self.stores():
            lacking = set(ids) - found.keys()
            for record in store.read_all(columns, lacking) if lacking else ():
                found.setdefault(record.trial_id, record)
        return [found[trial_id] for trial_id in ids]

    @property
    def folder(self) -> Place:
        """Folder of the benchmark: records, W&B runs, logs, report."""
        return place(self.root) / self.benchmark

    @property
    def objects(self) -> bool:
        """Whether records go to an object store; then logs and W&B runs stay with the command."""
        return "://" in self.root
