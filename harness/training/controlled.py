"""What a trial finds around it in its process: its threads, its generator, and quiet libraries."""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning_fabric.utilities import registry

from harness.models import memory
from harness.training.workers import Workers
from harness.trial import Trial

_plugins: Any = functools.cache(registry.entry_points)
registry.entry_points = _plugins  # each Trainer looks for callbacks in the metadata of every package: 18 ms of CPU


@contextmanager
def controlled(trial: Trial, workers: Workers | None = None) -> Iterator[None]:
    """Seed and threads of the trial inside, what was there before afterwards; the libraries' chatter kept out.

    float32 is float32: torch lets cuDNN's recurrent kernels round products to TF32, and no others, so that cells would
    differ by it.
    """
    cudnn: Any = torch.backends.cudnn.rnn  # whose types do not say what it has
    threads, state, exact = torch.get_num_threads(), torch.get_rng_state(), cudnn.fp32_precision
    noisy = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in noisy]
    for logger in noisy:
        logger.setLevel(logging.ERROR)
    memory.keep_freed()
    torch.set_num_threads(trial.threads)
    cudnn.fp32_precision = "ieee"
    torch.manual_seed((workers or Workers()).seed(trial.seed))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"pytorch_lightning|lightning_fabric|torch\.utils\._pytree")
            warnings.filterwarnings("ignore", message=r".*LeafSpec.*")
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(state)
        cudnn.fp32_precision = exact
        for logger, level in zip(noisy, levels, strict=True):
            logger.setLevel(level)
