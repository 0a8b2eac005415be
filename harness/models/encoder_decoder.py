"""The model whose answer has steps of its own: layers that read, layers that write, and what passes between them.

Shape legend: see harness/cells/base.py; in addition S source steps, U target steps, W width of the source's outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harness.cells.base import Cell, Kernel
from harness.data.batches import Batch
from harness.models.attention import DotAttention, Memory
from harness.models.base import Backward, Driven, Loss, Model, Windows
from harness.models.by_lag import Look
from harness.models.decoding import Step, beam, greedy
from harness.models.diagnose import first_bad_mark
from harness.models.objectives import IGNORE, due
from harness.models.pointer import Pointer
from harness.models.precision import weight_dtype
from harness.models.ragged import Unrolled, unroll
from harness.models.stack import Stack, StackState
from harness.models.unroll import leaf
from harness.tasks.base import END, Task
from harness.trial import Trial


class EncoderDecoder(Model):
    """Encoder-decoder and one-to-many: Sutskever, Vinyals, Le, arXiv:1409.3215.

    One stack reads the source; a second, unidirectional one starts from its states, at each source's own end, and
    writes the target symbol by symbol. One-to-many is the same with a source of one step. Targets (N, U) are classes;
    class END closes each and what lies beyond is -100.

    Training feeds the right symbol before (teacher forcing, Williams and Zipser, Neural Computation 1, 1989);
    `answer` feeds the model's own. A bidirectional encoder ends in two states per layer: a linear layer takes both to
    the one that the decoder starts from, a learned mixture of which their sum would be one case. It has no
    squashing, since c of an LSTM has no bound. With `pointer` answers are log-probabilities (pointer.py).
    """

    def __init__(self, trial: Trial, task: Task, cell: Cell) -> None:
        super().__init__()
        shape, hidden, fused = task.shape, trial.hidden_size, trial.kernel != "loop"
        assert task.objective == "cross-entropy" and shape.target_steps, "a decoder writes classes, of a known length"
        self.remembers = bool(cell.states)
        self.reads_one_step = task.mapping == "one-to-many"
        self.start_symbol, self.limit, self.beam_width = shape.outputs, 2 * shape.target_steps, trial.beam_width
        embedded = trial.embedding_size or hidden
        self.embedding = nn.Embedding(shape.vocabulary, embedded) if shape.vocabulary else None
        width = embedded if shape.vocabulary else shape.features
        self.input_dropout, self.output_dropout = trial.input_dropout, trial.output_dropout
        self.encoder = Stack(cell, width, hidden, trial.layers, trial.bidirectional, trial.dropout, fused)
        joints = trial.layers * len(cell.states) if trial.bidirectional else 0
        self.bridge = nn.ModuleList(nn.Linear(2 * hidden, hidden) for _ in range(joints))
        self.target_embedding = nn.Embedding(shape.outputs + 1, embedded)  # the last row is the start symbol
        self.decoder = Stack(cell, embedded, hidden, trial.layers, False, trial.dropout, fused)
        self.attention = DotAttention(hidden, self.encoder.width) if trial.attention == "dot" else None
        self.pointer = Pointer(hidden, self.start_symbol) if trial.pointer else None
        self.head = nn.Linear(hidden, shape.outputs)
        self._start(torch.Generator().manual_seed(trial.seed))
        self.to(weight_dtype(trial.precision))

    def _start(self, generator: torch.Generator) -> None:
        """Draw every weight from the trial's seed alone, in a fixed order."""
        for module in self.children():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, generator=generator)
            elif isinstance(module, Stack | DotAttention | Pointer):
                module.start(generator)
        for layer in (*self.bridges, self.head):
            bound = layer.in_features**-0.5
            for weight in (layer.weight, layer.bias):
                nn.init.uniform_(weight, -bound, bound, generator=generator)

    @property
    def bridges(self) -> list[nn.Linear]:
        """One for each layer and state, where the encoder is bidirectional."""
        return cast(list[nn.Linear], list(self.bridge))

    @property
    def kernel(self) -> Kernel:
        """What unrolls the layers, of encoder and decoder alike."""
        return self.encoder.kernel

    def steps(self, batch: Batch) -> tuple[int, int]:
        """Steps read and steps written."""
        written_B = target_lengths(batch.targets)
        computed = len(batch.inputs) * (batch.inputs.shape[1] + int(written_B.max()))
        return int(batch.lengths.sum() + written_B.sum()), computed

    def encode(self, inputs: Tensor) -> Tensor:
        """Return features (B, S, D) in the model's arithmetic, from features or tokens; the embeddings of the columns
        (B, S, K) of a step are added."""
        x_BSD = inputs.to(self.head.weight.dtype) if self.embedding is None else self.embedding(inputs)
        return self._dropped(x_BSD.sum(2) if x_BSD.ndim == 4 else x_BSD, self.input_dropout)

    def _dropped(self, values: Tensor, share: float) -> Tensor:
        return F.dropout(values, share, self.training) if share else values

    def read(
        self, batch: Batch, edges: Iterable[int] = (), cuts: Iterable[int] = (), watch: bool = False
    ) -> tuple[Unrolled, StackState]:
        """Return the encoder's run and the states that the decoder starts from, one per layer."""
        starts = self.encoder.zero_state(len(batch.inputs))
        starts = leaf(starts) if watch else starts
        run = unroll(self.encoder, self.encode(batch.inputs), starts, batch.lengths, edges, list(cuts), watch)
        if not self.bridge:
            return run, run.ends
        bridges, pairs = iter(self.bridges), zip(run.ends[::2], run.ends[1::2], strict=True)
        return run, [
            tuple(next(bridges)(torch.cat(both, 1)) for both in zip(ahead, back, strict=True)) for ahead, back in pairs
        ]

    def look_back(self, source: Unrolled, batch: Batch, before_BU: Tensor) -> Memory | None:
        """What attention sees of the source at steps before which these symbols are given; None without attention."""
        if self.attention is None:
            return None
        memory = self.attention.look(source.output_BTH, batch.lengths)
        return memory if self.pointer is None else self.pointer.given(memory, batch.inputs, before_BU)

    def read_out(self, h_BUH: Tensor, memory: Memory | None) -> Tensor:
        """Return answers (B, U, O) from the decoder's outputs and what they look back at."""
        mixed_BUH = h_BUH if self.attention is None else self.attention(h_BUH, memory)
        mixed_BUH = self._dropped(mixed_BUH, self.output_dropout)
        scores_BUO = self.head(mixed_BUH)
        if self.attention is None or self.pointer is None or memory is None:
            return scores_BUO
        return self.pointer(scores_BUO, mixed_BUH, self.attention.scores(h_BUH, memory), memory)

    def backward(self, batch: Batch, loss_of: Loss, windows: Windows, backward: Callable[[Tensor], None]) -> Backward:
        """One backward pass over both. With a `length` k of windows the gradient through time is cut before steps k,
        2k, ... of the source and of the target, so that padding does not move the cuts; the states that pass from
        encoder to decoder are not cut, nor is attention. `stride` has no meaning here.

        Watched is the loss of the first target symbol by lag in the encoder: how far back in its source the first
        answer can see. One-to-many has no such past: there it is the last symbol's loss by lag in the decoder.
        """
        written_B = target_lengths(batch.targets)
        targets_BU = batch.targets[:, : int(written_B.max())]
        steps = {"source": batch.inputs.shape[1], "target": targets_BU.shape[1]}
        cuts = {side: list(range(windows.length or n, n, windows.length or n)) for side, n in steps.items()}
        side = "target" if self.reads_one_step else "source"
        direct = side == "source" and self.attention is not None  # a way back that no cut closes
        look = self._look(batch, [] if direct else cuts[side]) if windows.watch and self.remembers else None
        edges = {name: look.edges if look and name == side else () for name in steps}
        source, starts = self.read(batch, edges["source"], cuts["source"], bool(look))
        before_BU = self._shifted(targets_BU)
        forced_BUD = self._dropped(self.target_embedding(before_BU), self.input_dropout)
        run = unroll(self.decoder, forced_BUD, starts, written_B, edges["target"], cuts["target"], bool(look), False)
        answers_BUO = self.read_out(run.output_BTH, self.look_back(source, batch, before_BU))
        loss, gradient = loss_of(answers_BUO, targets_BU) / max(1, due(batch.full.targets)), None
        if look:
            row = torch.arange(len(targets_BU), device=targets_BU.device)
            at_B = written_B - 1 if self.reads_one_step else torch.zeros_like(written_B)
            one = loss_of(answers_BUO[row, at_B], targets_BU[row, at_B]) / len(targets_BU)
            watched = run if self.reads_one_step else source
            gradient = look.read(one, watched.marks, watched.begun, windows.scale)
        backward(loss)
        return Backward(float(loss.detach()), gradient)

    def _look(self, batch: Batch, cuts: list[int]) -> Look:
        """Where to look back from: the last symbol that is written, or the end of the source."""
        full = batch.full
        return Look.back_to(cuts, target_lengths(full.targets) if self.reads_one_step else full.lengths, batch)

    def _shifted(self, targets_BU: Tensor) -> Tensor:
        """The symbol before each target: the start symbol, then the targets but the last; padding reads as END."""
        first_B1 = torch.full_like(targets_BU[:, :1], self.start_symbol)
        return torch.cat([first_B1, targets_BU[:, :-1].masked_fill(targets_BU[:, :-1] == IGNORE, END)], 1)

    def answer(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return what the model writes by itself, tokens (B, U') with NOTHING after the end, and the targets.

        Greedy, or the best of a beam of `beam_width` (decoding.py says what best is), until END or twice the longest
        target that the task declares. The targets are passed on and not read.
        """
        source, starts = self.read(batch)
        with torch.no_grad():
            first_B = torch.full_like(batch.lengths, self.start_symbol)
            memory = self.look_back(source, batch, first_B[:, None])
            if self.pointer is not None:
                starts = [*starts, (torch.zeros_like(batch.inputs),)]  # no copy has begun
            if self.beam_width > 1:
                width = self.beam_width
                return beam(self._writer(memory, width), first_B, starts, END, self.limit, width)[0], batch.targets

            def fewer(rows_N: Tensor) -> Step:
                return self._writer(memory and memory.rows(rows_N))

            return greedy(self._writer(memory), first_B, starts, END, self.limit, fewer)[0], batch.targets

    def _writer(self, memory: Memory | None, width: int = 1) -> Step:
        """Return the step that writes one more symbol; `width` rows side by side look back at one source."""

        def step(tokens_N: Tensor, states: StackState) -> tuple[Tensor, StackState]:
            one_N, seen, copies = torch.ones_like(tokens_N), memory, cast(StackState, [])
            if self.pointer is not None and memory is not None:
                *states, runs = states  # of copies, behind the states of the layers
                seen, *copies = self.pointer.written(memory, runs, tokens_N)
            out_N1H, states, _ = self.decoder(self.target_embedding(tokens_N[:, None]), states, one_N, [1])
            scores_BKO = self.read_out(out_N1H.unflatten(0, (-1, width)).flatten(2), seen)
            return scores_BKO.flatten(0, 1).log_softmax(1), [*states, *copies]

        return step

    def driven(self, batch: Batch) -> Driven:
        """The encoder over the source; of one-to-many, which has no such past, the decoder under teacher forcing."""
        if not self.reads_one_step:
            zeros = self.encoder.zero_state(len(batch.inputs))
            return Driven(self.encoder, self.encode(batch.inputs), batch.lengths, zeros)
        forced_BUD = self.target_embedding(self._shifted(batch.targets))
        return Driven(self.decoder, forced_BUD, target_lengths(batch.targets), self.read(batch)[1])

    def reach(self, batch: Batch) -> int:
        """Steps of the longest source or target."""
        return max(batch.inputs.shape[1], int(target_lengths(batch.targets).max()))

    def forced(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return scores (B, U, O) of each symbol given the right ones before it, and the targets (B, U)."""
        source, starts = self.read(batch)
        written_B = target_lengths(batch.targets)
        before_BU = self._shifted(batch.targets)
        run = unroll(self.decoder, self.target_embedding(before_BU), starts, written_B, (), [], ends=False)
        return self.read_out(run.output_BTH, self.look_back(source, batch, before_BU)), batch.targets

    @torch.no_grad()
    def first_bad_state(self, batch: Batch) -> tuple[str, int | None, str] | None:
        """Repeat the forward pass under teacher forcing one step a piece: first the encoder, then the decoder."""
        source, starts = self.read(batch, range(batch.inputs.shape[1]))
        found = first_bad_mark(self.encode(batch.inputs), source.marks, source.output_BTH)
        if found is not None:
            return (found[0] if found[0] == "input" else f"encoder.{found[0]}", *found[1:])
        if not all(bool(s.isfinite().all()) for state in starts for s in state):
            return "bridge", None, "a start state of the decoder is not finite"
        forced_BUD = self.target_embedding(self._shifted(batch.targets))
        written_B = target_lengths(batch.targets)
        run = unroll(self.decoder, forced_BUD, starts, written_B, range(forced_BUD.shape[1]), [], ends=False)
        found = first_bad_mark(forced_BUD, run.marks, run.output_BTH)
        if found is not None:
            return ("target_embedding" if found[0] == "input" else f"decoder.{found[0]}", *found[1:])
        return None


def target_lengths(targets_BU: Tensor) -> Tensor:
    """Return how many symbols are due in each row (B,), at least 1: a row of which nothing is due costs one step."""
    return (targets_BU != IGNORE).sum(1).clamp(min=1)
