"""A Trial: one point of a sweep with one seed. It holds everything that decides a result, and its hash is its id.

Frozen, plain, canonical: two trials with equal settings have equal ids wherever and however they were written, so a
stored record is found again and never computed twice. What cannot matter to a variant is normalised away
(`normalised`), so that one computation never has two ids.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness import registry
from harness.errors import Fault, UserError

if TYPE_CHECKING:
    from harness.cells.base import Cell
    from harness.tasks.base import Task

PROTOCOL: Final = 1
"""Part of every id. Raised when the code changes what equal settings compute, so that old records are not reused."""

Count = Annotated[int, Field(ge=1, le=10**12)]
Positive = Annotated[float, Field(gt=0)]
Precision = Literal["float32", "float64", "bfloat16-mixed", "float16-mixed"]
CHANGEABLE = ("learning_rate", "clip_norm", "clip_value", "clip_layer_norm", "clip_agc")
"""What may change while a trial trains."""
CLIPPING = {"clip_norm": "c", "clip_value": "cv", "clip_layer_norm": "cl", "clip_agc": "ca"}
"""Settings that clip, of which one may be given, and what a label calls them."""
LATER: Final[frozenset[str]] = frozenset({"changes", "pointer", "workers"})
"""Settings younger than stored records: at its default, one is no part of the id, so that those records still count."""


class Trial(BaseModel):
    """Settings of one training run. Units and ranges stand beside each; `task` and `cell` carry theirs by name."""

    __slots__ = ("_id",)  # beside the settings, so that no copy with other settings takes it along
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    task: dict[str, Any] = Field(description="name of a task, or {name, its settings}")
    cell: dict[str, Any] = Field(description="name of a cell, or {name, its settings}")
    hidden_size: int = Field(64, ge=1, le=65_536, description="units per layer and direction")
    embedding_size: int | None = Field(None, ge=1, le=65_536, description="width of embedded tokens; null: hidden_size")
    layers: int = Field(1, ge=1, le=64, description="stacked recurrent layers")
    bidirectional: bool = Field(False, description="read the sequence in both directions")
    attention: Literal["none", "dot"] = Field("none", description="what a decoder sees of the source at each step")
    pointer: bool = Field(False, description="a decoder may copy symbols of the source (pointer-generator)")
    beam_width: int = Field(1, ge=1, le=1_000, description="sequences that a decoder keeps when it answers; 1: greedy")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of units dropped between layers")
    input_dropout: float = Field(0.0, ge=0, lt=1, description="share dropped of what the first layer reads")
    output_dropout: float = Field(0.0, ge=0, lt=1, description="share dropped of what the head reads")
    kernel: Literal["auto", "fused", "scan", "loop"] = Field(
        "auto", description="torch's fused kernel, a parallel scan, or our plain loop; auto: the quickest the cell has"
    )
    bptt_length: Count | None = Field(None, description="steps that a gradient reaches back; null: the whole sequence")
    bptt_stride: Count | None = Field(None, description="steps between two backward passes; null: bptt_length")
    clip_norm: Positive | None = Field(None, description="clip the global gradient norm to this; null: no clipping")
    clip_value: Positive | None = Field(None, description="instead: clip each element of the gradient to +- this")
    clip_layer_norm: Positive | None = Field(None, description="instead: clip the gradient norm of each layer to this")
    clip_agc: Positive | None = Field(
        None, description="instead: adaptive clipping, to this share of the norm of each unit's weights; not the head"
    )
    optimizer: Literal["adam", "sgd"] = Field("adam", description="update rule")
    learning_rate: Positive = Field(0.003, description="step size, the largest of a schedule")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="cosine: rises over the first 5 % of the updates and falls to 0 at the end"
    )
    weight_decay: float = Field(
        0.0, ge=0, le=1, description="share of each weight taken off an update, times the step size"
    )
    batch_size: int = Field(32, ge=1, le=1_000_000, description="examples per update")
    batching: Literal["shuffled", "by-length"] = Field(
        "shuffled", description="by-length: examples of about one length share an update, so that little is padding"
    )
    examples: Count | None = Field(None, description="budget: examples trained on, repeats included")
    tokens: Count | None = Field(None, description="budget: useful time steps trained on, instead of examples")
    evaluations: int = Field(10, ge=1, le=1_000, description="points of the learning curve on the validation split")
    select: Literal["last", "best"] = Field(
        "last", description="weights that are tested: the last, or the best on the validation split"
    )
    shuffled_targets: bool = Field(
        False, description="control: training targets dealt out at random; what is still learned is not from the input"
    )
    probe_every: int = Field(50, ge=1, description="updates between two looks at the gradient through time")
    precision: Precision = Field(
        "float32", description="arithmetic of the model; mixed: float32 weights, matrix products in 16 bits"
    )
    threads: int = Field(1, ge=1, le=1_024, description="torch threads of each worker of the trial")
    workers: int = Field(1, ge=1, le=1_024, description="processes that train together, each on its rows of a batch")
    seed: int = Field(0, ge=0, lt=2**32, description="start weights, data order, synthetic data and dropout")
    changes: list[dict[str, Any]] = Field(
        [], description="settings that change on the way: {at: updates made by then, a setting: its value}"
    )
    protocol: Literal[1] = PROTOCOL

    @model_validator(mode="after")
    def _one_budget(self) -> Trial:
        if (self.examples is None) == (self.tokens is None):
            raise ValueError("give exactly one budget: `examples` or `tokens`, as in examples: 30000")
        return self

    @property
    def id(self) -> str:
        """16 hex digits of the SHA-256 of the canonical JSON, found once: a benchmark asks for it again and again."""
        try:
            return str(object.__getattribute__(self, "_id"))
        except AttributeError:
            found = hashlib.sha256(self.canonical().encode()).hexdigest()[:16]
            object.__setattr__(self, "_id", found)
            return found

    def seeded(self, seed: int) -> Trial:
        """Return the same trial with another seed. A hundred thousand of them share what pydantic keeps of which
        settings were given, which takes more memory than the settings."""
        made = self.model_copy(update={"seed": seed})
        object.__setattr__(made, "__pydantic_fields_set__", self.__pydantic_fields_set__)
        return made

    def canonical(self) -> str:
        """One JSON text for equal settings: sorted keys, no spaces."""
        settings = self.model_dump(mode="json")
        for name, default in later().items():
            if settings[name] == default:
                del settings[name]
        return json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_canonical(cls, text: str) -> Trial:
        """Build from `canonical()` text."""
        return cls(**json.loads(text))

    @property
    def label(self) -> str:
        """Short readable name: `lstm-digits-b16-c1-s0`."""
        parts = [self.cell["name"], self.task["name"]]
        parts.append(f"b{self.bptt_length}" if self.bptt_length else "bfull")
        clip = self.clipping
        parts.append(f"{CLIPPING[clip[0]]}{clip[1]:g}" if clip else "cnone")
        return "-".join([*parts, f"s{self.seed}"])

    @property
    def clipping(self) -> tuple[str, float] | None:
        """Name of the clipping setting that is given and its limit; None: no clipping."""
        given = [(name, getattr(self, name)) for name in CLIPPING if getattr(self, name) is not None]
        return given[0] if given else None

    def after(self, updates: int) -> Trial:
        """Return the settings that hold once so many updates are made: with the changes that were due by then."""
        due = [change for change in self.changes if change["at"] <= updates]
        return self.model_copy(update={key: value for each in due for key, value in each.items() if key != "at"})

    def build_task(self) -> Task:
        """Return the task with its settings."""
        return registry.build("task", self.task)

    def build_cell(self) -> Cell:
        """Return the cell with its settings."""
        return registry.build("cell", self.cell)

    def normalised(self) -> Trial:
        """Return the same computation with every setting that cannot matter set to its neutral value.

        A cell without state has no BPTT length and no second direction; a window as long as the sequence is the
        whole sequence; dropout acts between layers, so one layer has none. Where all is differentiated at once (a
        decoder, two directions, a loss over all steps), there is no stride; without a decoder there is no
        attention, no beam and no pointer.
        """
        task, cell = self.build_task(), self.build_cell()
        changes: dict[str, Any] = {"task": task.plain(), "cell": cell.plain()}
        longest = max(task.shape.steps, task.shape.target_steps)
        if not cell.states:
            changes |= {"bidirectional": False, "bptt_length": None, "bptt_stride": None}
            if task.stream:  # a window is an update, and looking back past its fresh steps changes nothing
                changes["bptt_length"] = self.bptt_stride or self.bptt_length
        elif self.bptt_length is not None and not task.stream and self.bptt_length >= longest:
            changes["bptt_length"] = None
        if self.bptt_stride == self.bptt_length or changes.get("bptt_length", self.bptt_length) is None:
            changes["bptt_stride"] = None
        if task.written or task.over_steps or self.bidirectional:
            changes["bptt_stride"] = None
        if not task.written:
            changes |= {"attention": "none", "beam_width": 1, "pointer": False}
        if task.stream:
            changes["batching"] = "shuffled"
        if self.layers == 1:
            changes["dropout"] = 0.0
        if (not task.shape.vocabulary and not task.written) or self.embedding_size == self.hidden_size:
            changes["embedding_size"] = None
        if self.kernel == cell.kernels[0]:
            changes["kernel"] = "auto"
        return self.model_copy(update=changes)

    def check(self) -> None:
        """Raise UserError for settings that are each allowed but not together, and for absent data: all at once."""
        task, cell = self.build_task(), self.build_cell()
        faults = [replace(fault, what=f"task '{self.task['name']}': {fault.what}") for fault in task.absent()]
        allowed = ("auto", *cell.kernels)
        if self.kernel not in allowed:
            what = f"kernel: cell '{self.cell['name']}' has no {self.kernel!r} kernel"
            faults.append(Fault(what, allowed=", ".join(allowed), remedy="kernel: auto"))
        if self.bidirectional and task.autoregressive:
            what = f"bidirectional: a backward direction would see what task '{self.task['name']}' asks to predict"
            faults.append(Fault(what, allowed="false", remedy="bidirectional: false"))
        if self.bidirectional and task.mapping == "one-to-many":
            what = f"bidirectional: the input of task '{self.task['name']}' is one step, with nothing to read backwards"
            faults.append(Fault(what, allowed="false", remedy="bidirectional: false"))
        if self.bidirectional and task.stream and not task.autoregressive:
            what = f"bidirectional: task '{self.task['name']}' is a stream, which has no end to read back from"
            faults.append(Fault(what, allowed="false", remedy="bidirectional: false"))
        if self.pointer and task.written and self.attention == "none":
            what = "pointer: without attention there is nothing to point with"
            faults.append(Fault(what, allowed="false, or attention: dot", remedy="attention: dot"))
        if self.pointer and task.written and not task.shared_symbols:
            what = f"pointer: task '{self.task['name']}' reads other symbols than it writes"
            faults.append(Fault(what, allowed="false", remedy="pointer: false"))
        clips = [name for name in CLIPPING if getattr(self, name) is not None]
        if len(clips) > 1:
            what = f"{clips[0]}: given together with {', '.join(clips[1:])}"
            faults.append(Fault(what, allowed="one kind of clipping", remedy=f"{clips[1]}: null"))
        if task.stream and self.bptt_length is None:
            what = f"bptt_length: task '{self.task['name']}' is a stream, which has no whole to go back over"
            faults.append(Fault(what, allowed="a number of steps", remedy="bptt_length: 64"))
        if task.stream and self.tokens is None:
            what = f"examples: task '{self.task['name']}' is a stream, whose budget counts tokens"
            faults.append(Fault(what, allowed="tokens", remedy="tokens: 1000000"))
        if self.workers > self.batch_size:
            what = f"workers: {self.workers} share batches of {self.batch_size}, so some would have nothing to do"
            faults.append(Fault(what, allowed=f"1 to batch_size ({self.batch_size})", remedy="workers: 1"))
        if self.bptt_stride is not None and self.bptt_length is not None and self.bptt_stride > self.bptt_length:
            what = f"bptt_stride: {self.bptt_stride} steps between updates would leave some without a gradient"
            faults.append(Fault(what, allowed=f"1 to bptt_length ({self.bptt_length})", remedy="bptt_stride: null"))
        if faults:
            raise UserError(faults)


@cache
def later() -> dict[str, Any]:
    """Return the settings that an id holds only where they are not at their default, which this is."""
    return {name: Trial.model_fields[name].default for name in sorted(LATER)}


def key_of(settings: dict[str, Any]) -> str:
    """Return one text for equal settings, whatever the seed: what a variant is known by."""
    return json.dumps({k: v for k, v in settings.items() if k != "seed"}, sort_keys=True)
