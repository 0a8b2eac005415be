"""The model of sequence tasks: encoder, recurrent stack, head; trained by windows of backpropagation through time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from harness.cells.base import Cell, Kernel
from harness.data.batches import Batch
from harness.models.base import Backward, Driven, Loss, Model, Windows
from harness.models.diagnose import first_bad_mark
from harness.models.heads import sequence_head
from harness.models.objectives import due
from harness.models.passes import at_once, by_window
from harness.models.precision import weight_dtype
from harness.models.stack import Stack, StackState
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
        return self.stack.drop(x_BTD, self.input_dropout, self.training) if self.input_dropout else x_BTD

    def read_out(self, hidden: Tensor) -> Tensor:
        """Return answers (..., O) from hidden units (..., H)."""
        hidden = self.stack.drop(hidden, self.output_dropout, self.training) if self.output_dropout else hidden
        return self.head(hidden)

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
            self.encode(batch.inputs), self.first_states(batch), batch.lengths, [batch.inputs.shape[1]]
        )
        self.carry(batch._replace(advance=None), {batch.inputs.shape[1]: states})
        answers = self.read_out(out_BTH if self.each_step else self.summarise(out_BTH, batch.lengths))
        if self.over_steps is not None:
            answers = self.over_steps.decode(answers.to(self.head.weight.dtype), batch.lengths)
        return answers, batch.targets

    def backward(self, batch: Batch, loss_of: Loss, windows: Windows, backward: Callable[[Tensor], None]) -> Backward:
        """Accumulate the gradient of the mean loss, window by window, so that only one window is held in memory.

        A backward direction needs the whole sequence, and so does a loss over all of its steps: there the network is
        unrolled in one call and the gradient is cut inside it, every `length` steps; `stride` has no meaning there.
        Watched is the loss of the last answer that is due of each sequence, by lag in the forward direction, in the
        last of the longest windows that has such answers.
        """
        windows = windows._replace(watch=windows.watch and self.remembers)
        # at least 1: a batch of which nothing is due has loss 0 and gradient 0, not 0 / 0
        count, total, gradient = max(1, due(batch.full.targets)), 0.0, None
        if self.stack.directions == 2 or self.over_steps is not None:
            parts = at_once(self, batch, loss_of, windows._replace(stride=None))
        else:
            parts = by_window(self, batch, loss_of, windows, count)
        for loss, seen in parts:
            mean = loss / count
            backward(mean)
            gradient = seen() if seen else gradient
            total += float(mean.detach())
        return Backward(total, gradient)

    def losses(
        self,
        out_BTH: Tensor,
        batch: Batch,
        fresh: int,
        stop: int,
        whole: bool,
        loss_of: Loss,
        ends_B: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Return the loss summed over what is due in [fresh, stop) and, to watch the answers that lie `ends_B` steps
        behind `fresh`, their mean loss (otherwise the first again).

        `whole`: every sequence ends at `stop`, so that none needs to be picked out.
        """
        if self.over_steps is not None:
            scores_BTO, row = self.read_out(out_BTH), torch.arange(len(out_BTH), device=out_BTH.device)
            with torch.autocast(out_BTH.device.type, enabled=False):
                scores_BTO = scores_BTO.to(self.head.weight.dtype)
                loss = self.over_steps.loss(scores_BTO, batch.targets, batch.lengths)[0]
                if ends_B is None:
                    return loss, loss
                last = self.over_steps.last(scores_BTO[row, batch.lengths - 1], batch.targets, batch.lengths)
                return loss, last / len(row)
        if self.each_step:
            answers, targets = self.read_out(out_BTH), batch.targets[:, fresh:stop]
            loss = loss_of(answers, targets)
            if ends_B is None:
                return loss, loss
            row = (ends_B > 0).nonzero()[:, 0]
            at = ends_B[row] - 1
            return loss, loss_of(answers[row, at], targets[row, at]) / len(row)
        if whole and self.remembers and self.stack.directions == 1:
            answers, targets = self.read_out(out_BTH[:, -1]), batch.targets
        else:
            summary_BH = self.summarise(out_BTH, (batch.lengths - fresh).clamp(1, stop - fresh))
            chosen = slice(None) if whole else (batch.lengths > fresh) & (batch.lengths <= stop)
            answers, targets = self.read_out(summary_BH[chosen]), batch.targets[chosen]
        loss = loss_of(answers, targets)
        return loss, loss if ends_B is None else loss / len(answers)

    def first_states(self, batch: Batch) -> StackState:
        """Zeros, or what the stream carried so far with zeros for streams that start anew."""
        zeros = self.stack.zero_state(len(batch.inputs))
        whole = batch.full.resets  # on the host, so that no GPU is waited for
        if batch.resets is None or whole is None or all(whole.tolist()) or self.training not in self.carried:
            return zeros
        new_B1 = batch.resets[:, None]
        return [tuple(s.masked_fill(new_B1, 0) for s in state) for state in self.carried[self.training]]

    def carry(self, batch: Batch, known: dict[int, StackState]) -> None:
        if batch.resets is not None and self.remembers:
            states = known[self.go_on_at(batch)]
            self.carried[self.training] = [tuple(s.detach() for s in state) for state in states]

    @staticmethod
    def go_on_at(batch: Batch) -> int:
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
