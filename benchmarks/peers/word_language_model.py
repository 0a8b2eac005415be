"""The word language model of torch's examples, same model, data and schedule: python word_language_model.py FOLDER SEED

After its public description (pytorch/examples, word_language_model): 2 x 200 LSTM, embedding 200, dropout 0.2, 20
streams, windows of 35, plain SGD at 20, norms clipped at 0.25, weights of embedding and decoder drawn from +-0.1.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

WIDTH, LAYERS, DROPOUT, STREAMS, WINDOW, RATE, CLIP = 200, 2, 0.2, 20, 35, 20.0, 0.25


class Model(nn.Module):
    """Embedding, LSTM, decoder, with dropout before and after."""

    def __init__(self, symbols: int) -> None:
        super().__init__()
        self.drop = nn.Dropout(DROPOUT)
        self.encoder = nn.Embedding(symbols, WIDTH)
        self.rnn = nn.LSTM(WIDTH, WIDTH, LAYERS, dropout=DROPOUT)
        self.decoder = nn.Linear(WIDTH, symbols)
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.uniform_(self.decoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, x: torch.Tensor, state: tuple[torch.Tensor, ...] | None):
        """(T, B) -> logits (T B, V) and the state."""
        out, state = self.rnn(self.drop(self.encoder(x)), state)
        return self.decoder(self.drop(out)).flatten(0, 1), state


@torch.no_grad()
def evaluate(model: Model, tokens: torch.Tensor, streams: int = 10) -> float:
    """Mean loss over a text, the state carried from window to window."""
    model.eval()
    length, state, total = len(tokens) // streams, None, 0.0
    source = tokens[: length * streams].view(streams, length).t().contiguous()
    for start in range(0, length - 1, WINDOW):
        x, y = source[start : start + WINDOW], source[start + 1 : start + 1 + WINDOW].reshape(-1)
        logits, state = model(x[: len(y) // streams], state)
        total += len(y) * float(nn.functional.cross_entropy(logits, y))
    model.train()
    return total / max(1, streams * (length - 1))


def train(folder: Path, seed: int) -> dict[str, float]:
    """Train for a number of windows, as one goes through the first epoch."""
    begin = time.perf_counter()
    asked = json.loads((folder / "words.json").read_text())
    torch.manual_seed(seed)
    tokens = torch.from_numpy(np.load(folder / "words.npy")).long()
    length = len(tokens) // STREAMS
    source = tokens[: length * STREAMS].view(STREAMS, length).t().contiguous()
    model, state = Model(asked["symbols"]), None
    losses = []
    for update in range(asked["updates"]):
        start = update * WINDOW % (length - 1 - WINDOW)
        x, y = source[start : start + WINDOW], source[start + 1 : start + 1 + WINDOW].reshape(-1)
        model.zero_grad()
        if state is not None:
            state = tuple(part.detach() for part in state)
        logits, state = model(x, state)
        loss = nn.functional.cross_entropy(logits, y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        with torch.no_grad():
            for weight in model.parameters():
                assert weight.grad is not None
                weight.sub_(RATE * weight.grad)
        losses.append(loss.item())
    for name in ("valid", "test"):  # as the example does after an epoch
        evaluate(model, torch.from_numpy(np.load(folder / f"{name}.npy")).long())
    tail = losses[-max(1, len(losses) // 10) :]
    return {"seed": seed, "seconds": time.perf_counter() - begin, "score": float("nan"), "loss": sum(tail) / len(tail)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    for one in map(int, sys.argv[2:]):
        print(json.dumps(train(Path(sys.argv[1]), one)), flush=True)
