"""What a trial will cost, from shapes alone: parameters exactly, time within a factor of about two.

Nothing is built and torch is not imported. `tests/contracts/` holds the parameter count against the model itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from harness.cells.base import Cell
from harness.tasks.base import Task
from harness.trial import Trial

# Nominal constants of the time estimate, measured with one thread of a 2020s server core (AVX-512), batches of 8 to 128
# and 16 to 1024 units. Forward and backward together.
STEP_SECONDS = {"lstm": 18e-6, "gru": 270e-6, "rnn_tanh": 115e-6, "rnn_relu": 115e-6}
"""Latency of one step of torch's fused kernel: on a CPU the LSTM is one oneDNN kernel, the others are loops in C++."""
ONE_KERNEL = ("lstm",)
SCAN_STEP_SECONDS, SCAN_GATES = 5e-6, 2  # a scan composes steps: as much element-wise work as two gates more
LOOP_STEP_SECONDS, LOOP_GATE_SECONDS = 60e-6, 75e-6  # of our Python loop: for each step, and for each gate of it
LOOP_VECTOR_SECONDS, VECTOR_GATES = 90e-6, 1  # and for each weight that is no matrix and no bias of one
WEIGHT_SECONDS = 1.2e-9  # for each recurrent weight, read and its gradient added to at each step of a loop
UNIT_SECONDS = 8.7e-9  # element-wise work for each gate, unit and example of a step
ANSWER_SECONDS = 9e-9  # element-wise work for each output that is due: softmax and loss
FLOPS_PER_SECOND = 60e9  # of the matrix products
PARAMETER_SECONDS = 5e-9  # clearing, clipping and stepping for each parameter of an update
UPDATE_SECONDS = 1.5e-3  # batch, loss, probes, and calls of clipping and optimiser of one update
TRIAL_SECONDS = 0.5  # data, evaluation, record
COMMAND_SECONDS = 15.0  # imports, start and stop of Ray, report
LONGEST_RUN = 4
"""A copy that has gone on for more symbols than this is worth no more (models/pointer.py)."""


@dataclass(frozen=True)
class Estimate:
    """Work of a trial. `updates`, `tokens` and `flops` follow from its settings; `seconds` is a rough forecast."""

    updates: int
    tokens: int
    flops: float
    seconds: float


def weight_shapes(trial: Trial) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every trainable weight: embeddings, layers by direction, what joins them, head."""
    cell, task, hidden = trial.build_cell(), trial.build_task(), trial.hidden_size
    shape, both = task.shape, trial.bidirectional
    embedded = trial.embedding_size or hidden
    wide = hidden * (2 if both else 1)
    read = _stack(cell, trial, embedded if shape.vocabulary else shape.features, both)
    embedding = {"encoder.weight": (shape.vocabulary, embedded)} if shape.vocabulary else {}
    if not task.written:
        o = shape.outputs
        crf: dict[str, tuple[int, ...]] = {"crf.transitions": (o, o), "crf.start": (o,), "crf.stop": (o,)}
        return {
            **embedding, **read, "head.weight": (o, wide), "head.bias": (o,), **(crf if task.objective == "crf" else {})
        }  # fmt: skip
    joints = trial.layers * len(cell.states) if both else 0
    bridges: list[tuple[str, tuple[int, ...]]] = [(f"bridge.{i}.weight", (hidden, wide)) for i in range(joints)]
    bridges += [(f"bridge.{i}.bias", (hidden,)) for i in range(joints)]
    attention = {"attention.score": (hidden, wide), "attention.combine": (hidden, wide + hidden)}
    pointer: dict[str, tuple[int, ...]] = {"pointer.gate": (1, hidden), "pointer.bias": (1,)}
    pointer |= {"pointer.runs": (LONGEST_RUN,)}
    return {
        **embedding,
        **read,
        **dict(bridges),
        "decoder.weight": (shape.outputs + 1, embedded),  # every symbol, and the one that starts
        **{f"decoder.{name}": size for name, size in _stack(cell, trial, embedded, False).items()},
        **(attention if trial.attention == "dot" else {}),
        **(pointer if trial.pointer else {}),
        "head.weight": (shape.outputs, hidden),
        "head.bias": (shape.outputs,),
    }


def _stack(cell: Cell, trial: Trial, width: int, both: bool) -> dict[str, tuple[int, ...]]:
    """Weights of all layers over inputs of a width, by `layers.{i}.{direction}.{name}`."""
    hidden, directions = trial.hidden_size, ("forward", "backward") if both else ("forward",)
    wide = cell.gates * hidden
    result: dict[str, tuple[int, ...]] = {}
    for layer in range(trial.layers):
        one = {"weight_ih": (wide, width), "bias_ih": (wide,), **cell.weights(hidden)}
        result |= {f"layers.{layer}.{way}.{name}": size for way in directions for name, size in one.items()}
        width = hidden * len(directions)
    return result


def parameters(trial: Trial) -> int:
    """Number of trainable weights."""
    return sum(math.prod(shape) for shape in weight_shapes(trial).values())


@dataclass(frozen=True)
class Course:
    """What one sequence goes through in one update. Of the steps that are `read`, `again` times as many are gone back
    over; `stride` of a stream's are due."""

    read: float
    written: float
    again: float
    stride: float
    answers: float

    def flops(self, trial: Trial) -> float:
        """FLOPs of its matrix products: for each weight 2 forward and 4 backward, each time it is used."""
        reach = 1 / 3 + 2 / 3 * self.again
        times = {"layers": self.read * reach, "bridge": 1, "decoder": self.written, "attention": self.written}
        times |= {"encoder": 0, "crf": self.read, "head": self.answers, "pointer": self.written}
        products = [(n, size) for n, size in weight_shapes(trial).items() if len(size) > 1 and n != "decoder.weight"]
        return 6.0 * sum(times[name.partition(".")[0]] * math.prod(size) for name, size in products)

    def steps(self, trial: Trial) -> float:
        """Steps of layers forward, one after the other: all sequences of an update take them together."""
        return trial.layers * ((2 if trial.bidirectional else 1) * self.read + self.written)

    def steps_back(self, trial: Trial) -> float:
        """The same backward."""
        return trial.layers * ((2 if trial.bidirectional else 1) * self.read * self.again + self.written)


def _course(trial: Trial, task: Task, read: float, written: float) -> Course:
    """The course of sequences of so many steps.

    One answer at the end: a truncated gradient never reaches the windows before the last. Otherwise each window is gone
    back over once in `stride` steps; a stream's is read again too, which the number of sequences counts.
    """
    window = min(trial.bptt_length or read, read)
    stride = min(trial.bptt_stride or window, window)
    steps = window if task.stream else read  # of one forward pass
    once = task.mapping in ("many-to-one", "one-to-one")
    again = window / steps if once else 1.0 if task.stream else window / stride
    return Course(steps, written, again, stride, 1 if once else written or steps)


def flops_per_token(trial: Trial) -> float:
    """FLOPs of the matrix products for one useful time step, forward and backward: of a layer 6 G H (I + H). Padding is
    left out, and attention's own products are."""
    task = trial.build_task()
    usual = task.usual(trial.batch_size, trial.batching == "by-length")
    course = _course(trial, task, usual.read, usual.written)
    return course.flops(trial) / (course.stride if task.stream else usual.read + usual.written)


def steps_per_update(trial: Trial) -> float:
    """Steps that an update takes one after the other, forward and back, in all layers and directions.

    A scan composes all steps of a pass in a tree; a cell that carries nothing has one step a layer.
    """
    task, cell = trial.build_task(), trial.build_cell()
    usual = task.usual(trial.batch_size, trial.batching == "by-length")
    course = _course(trial, task, usual.read_padded, usual.written_padded)
    kernel = cell.kernels[0] if trial.kernel == "auto" else trial.kernel
    if not cell.states or kernel == "scan":
        depth = [math.ceil(math.log2(max(2.0, n))) if cell.states else 1 for n in (course.read, course.written) if n]
        return 2.0 * trial.layers * (depth[0] * (2 if trial.bidirectional else 1) + sum(depth[1:]))
    return course.steps(trial) + course.steps_back(trial)


def estimate(trial: Trial) -> Estimate:
    """Return the work of a trial; one multiplication and addition are 2 FLOPs forward and 4 backward.

    Attention's own products and steps that only look back are left out of `tokens`.
    """
    task, cell = trial.build_task(), trial.build_cell()
    usual = task.usual(trial.batch_size, trial.batching == "by-length")
    course = _course(trial, task, usual.read_padded, usual.written_padded)
    due = course.stride if task.stream else usual.read + usual.written
    sequences = trial.examples or math.ceil((trial.tokens or 0) / due)
    updates = math.ceil(sequences / trial.batch_size)
    flops = sequences * course.flops(trial)
    passes = course.steps(trial) / 3 + 2 / 3 * course.steps_back(trial)
    fixed, gates = per_step(trial, cell)
    seconds = passes * (updates * fixed + sequences * gates * trial.hidden_size * UNIT_SECONDS)
    seconds += updates * (UPDATE_SECONDS + parameters(trial) * PARAMETER_SECONDS) + flops / FLOPS_PER_SECOND
    seconds += TRIAL_SECONDS + sequences * course.answers * task.shape.outputs * ANSWER_SECONDS
    return Estimate(updates, round(sequences * due), flops, seconds)


def per_step(trial: Trial, cell: Cell) -> tuple[float, float]:
    """Seconds of one step of one layer and direction that do not grow with the batch, and gates of work that does."""
    if not cell.states:
        return 0.0, cell.gates  # all steps in one product
    kernel = cell.kernels[0] if trial.kernel == "auto" else trial.kernel
    if kernel == "scan":
        return SCAN_STEP_SECONDS, cell.gates + SCAN_GATES
    weights = cell.weights(trial.hidden_size)
    recurrent = WEIGHT_SECONDS * sum(math.prod(size) for size in weights.values())
    if kernel == "fused" and cell.fused:
        return STEP_SECONDS[cell.fused] + recurrent * (cell.fused not in ONE_KERNEL), cell.gates
    vectors = max(0, len(weights) - 2)
    fixed = LOOP_STEP_SECONDS + LOOP_GATE_SECONDS * cell.gates + LOOP_VECTOR_SECONDS * vectors + recurrent
    return fixed, cell.gates + VECTOR_GATES * vectors


def wall_seconds(trials: Iterable[Trial], at_once: int) -> float:
    """Forecast of the whole command, `at_once` trials at a time."""
    seconds = [estimate(trial).seconds * trial.threads for trial in trials]
    return COMMAND_SECONDS + max(sum(seconds) / at_once, *seconds) if seconds else COMMAND_SECONDS
