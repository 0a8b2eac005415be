"""Peers in turn: whole processes, each once a round, and the table of their times, scores and losses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}


@dataclass
class Taken:
    """Of one peer: seconds of each round by the clock of the whole process, of its trials, and what they reached."""

    wall: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    score: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)


def process(command: Sequence[str], cwd: Path) -> tuple[float, list[dict[str, float]]]:
    """Run a process; return its seconds and the JSON lines that it printed."""
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    took = time.perf_counter() - begin
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}\n{done.stderr[-3000:]}")
    return took, [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


Run = Callable[[int], tuple[float, list[dict[str, float]]]]


def interleaved(peers: dict[str, Run], rounds: int) -> dict[str, Taken]:
    """Run every peer once a round."""
    found = {name: Taken() for name in peers}
    names = list(peers)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            wall, answers = peers[name](number)
            taken = found[name]
            taken.wall.append(wall)
            taken.own.append(sum(one["seconds"] for one in answers))
            taken.score += [one["score"] for one in answers]
            taken.loss += [one["loss"] for one in answers]
            print(
                f"  round {number + 1}/{rounds} {name}: {wall:.2f} s, its trials {taken.own[-1]:.2f} s", file=sys.stderr
            )
    return found


def ratio(a: Sequence[float], b: Sequence[float]) -> str:
    """Median of a / b in the same round, with a bootstrap interval; of one round there is none."""
    each, draw = np.array(a) / np.array(b), np.random.default_rng(0)
    if len(each) == 1:
        return f"{each[0]:.2f}"
    drawn = np.median(draw.choice(each, (5000, len(each))), axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{np.median(each):.2f} [{low:.2f}, {high:.2f}]"


def table(title: str, found: dict[str, Taken], base: str, tolerance: float) -> bool:
    """Print a row for each peer; return whether none reached a worse score, or a higher loss, than the base by
    `tolerance` or by 3 standard errors, whichever is more."""
    print(f"\n### {title}\n")
    print(f"| peer | process, s | against {base} | trials, s | against {base} | score | loss |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    sound = True
    for name, taken in found.items():
        pairs = ((taken.wall, found[base].wall), (taken.own, found[base].own))
        times = " | ".join(f"{np.median(a):.2f} | {ratio(a, b)}" for a, b in pairs)
        reached = [
            _reached(taken.score, found[base].score, tolerance, higher=True),
            _reached(taken.loss, found[base].loss, tolerance, higher=False),
        ]
        sound &= all(same for _, same in reached)
        print(f"| {name} | {times} | {' | '.join(text for text, _ in reached)} |")
    return sound


def _reached(own: Sequence[float], base: Sequence[float], tolerance: float, higher: bool) -> tuple[str, bool]:
    """Return the mean over all trials with its standard error, and whether it is no worse than the base's."""
    means, errors = zip(
        *((np.mean(values), np.std(values) / np.sqrt(len(values))) for values in (own, base)), strict=True
    )
    worse = (means[1] - means[0]) * (1 if higher else -1)  # NaN, of what has no score, is not
    same = not worse > max(tolerance, 3 * float(np.hypot(*errors)))
    if np.isnan(means[0]):
        return "-", True
    return f"{means[0]:.3f} +- {errors[0]:.3f}{'' if same else ' WORSE'}", same
