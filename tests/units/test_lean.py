"""A worker imports nothing that no trial needs, and what is left out is there for who asks for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

BESIDE_A_TRIAL = """
import sys
from harness.launch.lean import SPARED, lean
with lean():
    from harness.engine import run_trial
    from harness.pack.run import run_pack
    from harness.models.scores import Score
    import harness.models.text_scores
print(sorted({"scipy.signal", "matplotlib", *SPARED} & set(sys.modules)))
import scipy.signal, matplotlib.figure
print(scipy.signal.windows.hann(3).tolist())
from lightning_utilities.core.imports import RequirementCache, package_available
print(package_available("scipy"), bool(RequirementCache("matplotlib")))
"""


@pytest.mark.slow
def test_a_trial_is_ready_without_scipy_and_matplotlib_and_they_are_there_afterwards() -> None:
    done = subprocess.run([sys.executable, "-c", BESIDE_A_TRIAL], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "[0.0, 1.0, 0.0]", "True True"]


def test_trainers_look_for_plugins_of_every_package_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    import pytorch_lightning as pl
    from lightning_fabric.utilities import registry

    import harness.training.controlled  # noqa: F401

    asked = []
    there = metadata.distributions
    monkeypatch.setattr(metadata, "distributions", lambda **given: asked.append(given) or there(**given))
    registry.entry_points.cache_clear()
    for _ in range(3):
        pl.Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu", devices=1)
    assert len(asked) == 1
