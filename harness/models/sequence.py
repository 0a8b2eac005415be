"""The model of sequence tasks: encoder, recurrent stack, head; trained by windows of backpropagation through time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.cells.base import Cell, Kernel
from harness.data.batches import Batch
from harness.models.base import Backward, Driven, Loss, Model, Windows
from harness.models.diagnose import first_bad_mark
from harness.models.heads import sequence_head
from harness.models.layer import Mark
from harness.models.objectives import due
from harness.models.precision import weight_dtype
from harness.models.stack import Stack, StackState
from harness.models.unroll import cut, gradient_by_lag, leaf, pieces, plan, sizes
from harness.tasks.base import Task
from harness.trial import Trial


class SequenceModel(Model):
    """One-to-one, many-to-one and aligned many-to-many: an embedding for tokens or nothing for features, recurrent
    layers, a linear head at each step or at each sequence's end. Streams carry the state from batch to batch."""

    def __init__(self, trial: Trial, task: Task, cell: Cell) -> None:
        super().__init__()
        shape, hidden = task.shape, trial.hidden_size
        self.each_step = task.mapping == "many-to-many"
        embedded = trial.embedding_size or hidden
        self.encoder = nn.Embedding(shape.vocabulary, embedded) if shape.vocabulary else None
        self.input_dropout, self.output_dropout = trial.input_dropout, trial.output_dropout
        self.stack = Stack(
            cell,
            embedded if shape.vocabulary else shape.features,
            hidden,
            trial.layers,
            trial.bidirectional,
            trial.dropout,
            fused=trial.kernel != "loop",
        )
        self.head = nn.Linear(self.stack.width, shape.outputs)
        self.over_steps = sequence_head(task.objective, shape.outputs)
        self.remembers = bool(cell.states)
        self.carried: dict[bool, StackState] = {}  # streams: the state so far, in training (True) and evaluation
        self.began: StackState = []  # the states from which the last backward pass started
        self._start(torch.Generator().manual_seed(trial.seed))
        self.to(weight_dtype(trial.precision))

    def _start(self, generator: torch.Generator) -> None:
        """Draw every weight from the trial's seed alone, in a fixed order."""
        if self.encoder is not None:
            nn.init.normal_(self.encoder.weight, generator=generator)
        self.stack.start(generator)
        bound = self.head.in_features**-0.5
        for weight in (self.head.weight, self.head.bias):
            nn.init.uniform_(weight, -bound, bound, generator=generator)

    @property
    def kernel(self) -> Kernel:
        """What unrolls the layers."""
        return self.stack.kernel

    def steps(self, batch: Batch) -> tuple[int, int]:
        """Steps read."""
        return batch.tokens, batch.inputs.shape[0] * batch.inputs.shape[1]

    def encode(self, inputs: Tensor) -> Tensor:
        """Return features (B, T, D) in the model's arithmetic, from features or tokens; the embeddings of the columns
        (B, T, K) of a step are added."""
        x_BTD = inputs.to(self.head.weight.dtype) if self.encoder is None else self.encoder(inputs)
        x_BTD = x_BTD.sum(2) if x_BTD.ndim == 4 else x_BTD
        return F.dropout(x_BTD, self.input_dropout, self.training) if self.input_dropout else x_BTD

    def read_out(self, hidden: Tensor) -> Tensor:
        """Return answers (..., O) from hidden units (..., H)."""
        hidden = F.dropout(hidden, self.output_dropout, self.training) if self.output_dropout else hidden
        return F.linear(hidden, self.head.weight, self.head.bias)

    def summarise(self, out_BTH: Tensor, lengths_B: Tensor) -> Tensor:
        """One vector (B, H) per sequence: what the network holds after reading it to its own end.

        Forward units are read at the last real step, backward ones at the first. A cell that carries nothing holds
        only its last input, so its outputs are averaged over the real steps instead (a bag of embeddings).
        """
        t = torch.arange(out_BTH.shape[1], device=out_BTH.device)
        if not self.remembers:
            real_BT1 = (t < lengths_B[:, None]).to(out_BTH.dtype)[:, :, None]
            return (out_BTH * real_BT1).sum(1) / real_BT1.sum(1)
        last_BH = out_BTH[torch.arange(len(out_BTH), device=out_BTH.device), lengths_B - 1]
        if self.stack.directions == 1:
            return last_BH
        half = out_BTH.shape[2] // 2
        return torch.cat([last_BH[:, :half], out_BTH[:, 0, half:]], 1)

    def answer(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Answers (B, T, O) at each step or (B, O) for each sequence, and the targets."""
        out_BTH, states, _ = self.stack(
            self.encode(batch.inputs), self._first_states(batch), batch.lengths, [batch.inputs.shape[1]]
        )
        self._carry(batch._replace(advance=None), {batch.inputs.shape[1]: states})
        answers = self.read_out(out_BTH if self.each_step else self.summarise(out_BTH, batch.lengths))
        if self.over_steps is not None:
            answers = self.over_steps.decode(answers.to(self.head.weight.dtype), batch.lengths)
        return answers, batch.targets

    def backward(self, batch: Batch, loss_of: Loss, windows: Windows, backward: Callable[[Tensor], None]) -> Backward:
        """Accumulate the gradient of the mean loss, window by window, so that only one window is held in memory.

        A backward direction needs the whole sequence, and so does a loss over all of its steps: there the network is
        unrolled in one call and the gradient is cut inside it.
        """
        steps, total = batch.inputs.shape[1], 0.0
        gradient: tuple[list[int], Tensor] | None = None
        # at least 1: a batch of which nothing is due has loss 0 and gradient 0, not 0 / 0
        count, cuts = max(1, due(batch.targets)), plan(steps, windows, due_at_end=not self.each_step)
        at_once = self.stack.directions == 2 or self.over_steps is not None
        inside = [stop - fresh for _, fresh, stop in cuts] if at_once else None
        known = {0: self._first_states(batch)}
        if batch.resets is not None:
            self.began = known[0]
        keep = {edge for begin, fresh, _ in cuts for edge in (begin, fresh)} | {self._go_on_at(batch)}
        watched = max(cuts, key=lambda window: (window[2] - window[0], window[2]))[2]  # the last one that is not short
        ends = set(batch.lengths.tolist())
        for begin, fresh, stop in [(0, 0, steps)] if inside else cuts:
            # no loss is due where no sequence ends, so no gradient can come from there
            silent = not self.each_step and not any(fresh < end <= stop for end in ends)
            begin = fresh if silent else begin
            watch = windows.watch and stop == (steps if inside else watched)
            start = leaf(known[begin]) if windows.watch else cut(known[begin])
            parts = inside or sizes(begin, stop, keep | set(pieces(begin, stop) if windows.watch else ()))
            lengths = batch.lengths if stop - begin == steps else (batch.lengths - begin).clamp(1, stop - begin)
            with torch.no_grad() if silent else nullcontext():
                x_BTD = self.encode(batch.inputs if stop - begin == steps else batch.inputs[:, begin:stop])
                out_BTH, last_states, marks = self.stack(
                    x_BTD, start, lengths, parts, detach=bool(inside) and len(cuts) > 1
                )
            if stop < steps or batch.resets is not None:  # something goes on from here
                known |= {stop: last_states} if inside else _states_at(marks, begin)
            if silent:
                continue
            if fresh > begin:  # a slice of everything would cost its backward pass a copy
                out_BTH = out_BTH[:, fresh - begin :]
            loss, last = self._losses(out_BTH, batch, fresh, stop, ends == {steps} and stop == steps, loss_of, watch)
            if last is not None and marks[0]:
                lags, norms = gradient_by_lag(last * windows.scale, start, marks, stop - begin, self.stack.directions)
                gradient = lags, norms / windows.scale
            mean = loss / count
            backward(mean)
            total += float(mean.detach())
        self._carry(batch, known)
        return Backward(total, gradient)

    def _losses(
        self, out_BTH: Tensor, batch: Batch, fresh: int, stop: int, whole: bool, loss_of: Loss, watch: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Return the loss summed over what is due in [fresh, stop) and, to `watch`, that of the last step per sequence.

        `whole`: every sequence ends at `stop`, so that none needs to be picked out.
        """
        if self.over_steps is not None:
            scores_BTO, row = self.read_out(out_BTH), torch.arange(len(out_BTH), device=out_BTH.device)
            with torch.autocast(out_BTH.device.type, enabled=False):
                scores_BTO = scores_BTO.to(self.head.weight.dtype)
                loss = self.over_steps.loss(scores_BTO, batch.targets, batch.lengths)[0]
                if not watch:
                    return loss, None
                last = self.over_steps.last(scores_BTO[row, batch.lengths - 1], batch.targets, batch.lengths)
                return loss, last / len(row)
        if self.each_step:
            answers, targets = self.read_out(out_BTH), batch.targets[:, fresh:stop]
            at_last = loss_of(answers[:, -1:], targets[:, -1:]) / len(targets) if watch else None
            return loss_of(answers, targets), at_last
        if whole and self.remembers and self.stack.directions == 1:
            answers, targets = self.read_out(out_BTH[:, -1]), batch.targets
        else:
            ends_here = (batch.lengths > fresh) & (batch.lengths <= stop)
            lengths = (batch.lengths - fresh).clamp(1, stop - fresh)
            answers = self.read_out(self.summarise(out_BTH, lengths)[ends_here])
            targets = batch.targets[ends_here]
        loss = loss_of(answers, targets)
        return loss, loss / len(answers) if watch else None

    def _first_states(self, batch: Batch) -> StackState:
        """Zeros, or what the stream carried so far with zeros for streams that start anew."""
        zeros = self.stack.zero_state(len(batch.inputs))
        if batch.resets is None or bool(batch.resets.all()) or self.training not in self.carried:
            return zeros
        new_B1 = batch.resets[:, None]
        return [tuple(s.masked_fill(new_B1, 0) for s in state) for state in self.carried[self.training]]

    def _carry(self, batch: Batch, known: dict[int, StackState]) -> None:
        if batch.resets is not None and self.remembers:
            states = known[self._go_on_at(batch)]
            self.carried[self.training] = [tuple(s.detach() for s in state) for state in states]

    @staticmethod
    def _go_on_at(batch: Batch) -> int:
        """The step at which the next batch of a stream begins."""
        return batch.inputs.shape[1] if batch.advance is None else batch.advance

    def driven(self, batch: Batch) -> Driven:
        """The layers over the batch, of a stream from a zero state."""
        zeros = self.stack.zero_state(len(batch.inputs))
        return Driven(self.stack, self.encode(batch.inputs), batch.lengths, zeros)

    def reach(self, batch: Batch) -> int:
        """Steps of the longest sequence."""
        return batch.inputs.shape[1]

    @torch.no_grad()
    def first_bad_state(self, batch: Batch) -> tuple[str, int | None, str] | None:
        """Repeat the forward pass one step a piece; the earliest bad step, lowest layer first."""
        x_BTD = self.encode(batch.inputs)
        steps = x_BTD.shape[1]
        start = self.stack.zero_state(len(batch.inputs)) if batch.resets is None else self.began
        out_BTH, _, marks = self.stack(x_BTD, start, batch.lengths, [1] * steps)
        return first_bad_mark(x_BTD, marks, out_BTH)


def _states_at(marks: list[list[Mark]], begin: int) -> dict[int, StackState]:
    """States by time step, from the marks of a unidirectional stack that started at `begin`."""
    if not marks[0]:
        return {}
    found = [{begin + m.step: (m.output_BPH[:, -1], *m.others) for m in layer} for layer in marks]
    return {step: [layer[step] for layer in found] for step in found[0]}
