"""The harness beside what a user would write without it: whole processes in turn, ratios with intervals, one command.

    python benchmarks/peers/compare.py [trial] [small] [words] [sweep] [--rounds 5] [--trials 64]

trial   LSTM of 128 units, batches of 32, 64 steps, some ten seconds: bare torch loop, plain Lightning script, harness
small   the same with 16 units and batches of 8, where every call counts
words   the word language model of torch's examples, on Python's standard library by character (where it draws weights
        of embedding and decoder from +-0.1, the harness draws as torch does, and so learns faster at first)
sweep   trials of about a second, on every core: bare loops, harness, and Tune with one Lightning process a trial

In each round every peer runs once, in an order that turns; a ratio is that of seconds in the same round, its interval a
bootstrap over rounds (95 %). None may reach a worse score or loss than the base: else the command ends with 1.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from work import Work, write

from harness import machine
from harness.trial import Trial

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
    """Median of a / b in the same round, with a bootstrap interval."""
    each, draw = np.array(a) / np.array(b), np.random.default_rng(0)
    drawn = np.median(draw.choice(each, (5000, len(each))), axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{np.median(each):.2f} [{low:.2f}, {high:.2f}]"


def table(title: str, found: dict[str, Taken], base: str, tolerance: float) -> bool:
    """Print a row for each peer; return whether none is worse than the base by `tolerance`, or 3 standard errors."""
    print(f"\n### {title}\n")
    print(f"| peer | process, s | against {base} | trials, s | against {base} | score | loss |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    sound = True
    for name, taken in found.items():
        score, loss = float(np.mean(taken.score)), float(np.mean(taken.loss))
        of, key = (score, "score") if np.isfinite(score) else (loss, "loss")
        spread = float(np.std(getattr(taken, key)) + np.std(getattr(found[base], key))) / np.sqrt(len(taken.loss))
        theirs, sign = float(np.mean(getattr(found[base], key))), 1 if key == "score" else -1
        same = sign * (of - theirs) >= -max(tolerance, 3 * spread)
        sound &= same
        pairs = ((taken.wall, found[base].wall), (taken.own, found[base].own))
        times = " | ".join(f"{np.median(a):.2f} | {ratio(a, b)}" for a, b in pairs)
        print(f"| {name} | {times} | {score:.3f} | {loss:.3f}{'' if same else ' WORSE'} |")
    return sound


def benchmark(folder: Path, work: Work, seeds: Sequence[int], **settings: object) -> Path:
    """Write the benchmark file of the same work."""
    asked = {
        "question": "What does it cost?", "seeds": list(seeds),
        "set": {
            "hidden_size": work.hidden, "batch_size": work.batch, "learning_rate": work.rate, "clip_norm": work.clip,
            "evaluations": work.evaluations, "examples": work.updates * work.batch, **settings,
        },
        "sweep": [{"task": "digits", "cell": "lstm"}],
    }  # fmt: skip
    path = folder / "same-work.yaml"
    path.write_text(json.dumps(asked))  # JSON is YAML
    return path


def digits(folder: Path, work: Work) -> None:
    """Write the digits, pixel by pixel, for the peers."""
    write(folder, work, Trial(task={"name": "digits"}, cell={"name": "lstm"}, examples=1).build_task())


def one_trial(folder: Path, work: Work, rounds: int, title: str) -> bool:
    """A bare loop, a Lightning script and the harness, a seed each round."""
    digits(folder, work)

    def script(name: str) -> Run:
        return lambda seed: process([sys.executable, str(HERE / name), str(folder), str(seed)], folder)

    def ours(seed: int) -> tuple[float, list[dict[str, float]]]:
        file = benchmark(folder, work, [seed])
        return process([sys.executable, str(HERE / "through_harness.py"), str(file), f"{folder}/r{seed}"], folder)

    peers = {
        "bare torch loop": script("bare.py"),
        "plain Lightning script": script("plain_lightning.py"),
        "harness": ours,
    }
    return table(title, interleaved(peers, rounds), "bare torch loop", 0.05)


def words(folder: Path, rounds: int) -> bool:
    """The word language model of torch's examples, on characters of Python's own library, which is always there."""
    task = {"name": "autocomplete", "data": "stdlib"}
    built = Trial(task=task, cell={"name": "lstm"}, tokens=1, bptt_length=35).build_task()
    document, updates = built.load("train", 0), 250
    np.save(folder / "words.npy", np.asarray(document.inputs[0]))
    for name in ("valid", "test"):
        np.save(folder / f"{name}.npy", np.asarray(built.load(name, 0).inputs[0]))
    (folder / "words.json").write_text(json.dumps({"symbols": built.shape.vocabulary, "updates": updates}))
    asked = {
        "question": "What does it cost?", "seeds": 1,
        "set": {
            "hidden_size": 200, "layers": 2, "dropout": 0.2, "input_dropout": 0.2, "output_dropout": 0.2,
            "batch_size": 20, "bptt_length": 35, "optimizer": "sgd", "learning_rate": 20.0, "clip_norm": 0.25,
            "tokens": updates * 20 * 35, "evaluations": 1,
        },
        "sweep": [{"task": task, "cell": "lstm"}],
    }  # fmt: skip

    def theirs(seed: int) -> tuple[float, list[dict[str, float]]]:
        return process([sys.executable, str(HERE / "word_language_model.py"), str(folder), str(seed)], folder)

    def ours(seed: int) -> tuple[float, list[dict[str, float]]]:
        file = folder / "words.yaml"
        file.write_text(json.dumps(asked | {"seeds": [seed]}))
        command = [sys.executable, str(HERE / "through_harness.py"), str(file), f"{folder}/w{seed}"]
        wall, answers = process(command, folder)
        return wall, [one | {"score": float("nan")} for one in answers]

    found = interleaved({"torch's example": theirs, "harness": ours}, rounds)
    return table("Word language model of torch's examples, 250 windows", found, "torch's example", 0.15)


def sweep(folder: Path, work: Work, trials: int, rounds: int) -> bool:
    """Many trials of a second: what a core's worth of bare loops takes, against both ways to orchestrate them."""
    digits(folder, work)
    cores, seeds = machine.cpu_count(), list(range(trials))

    def bare(_: int) -> tuple[float, list[dict[str, float]]]:
        begin = time.perf_counter()
        command = [sys.executable, str(HERE / "bare.py"), str(folder)]
        shares = [[*command, *map(str, seeds[core::cores])] for core in range(cores)]
        running = [
            subprocess.Popen(share, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) for share in shares
        ]
        answers = [json.loads(line) for one in running for line in one.communicate()[0].splitlines()]
        return time.perf_counter() - begin, answers

    def ours(number: int) -> tuple[float, list[dict[str, float]]]:
        file, results = benchmark(folder, work, seeds), folder / f"sweep{number}"
        wall, _ = process([sys.executable, "-m", "harness", "run", str(file), "--results", str(results)], folder)
        from harness import store

        records = store.open_folder(results / file.stem)
        return wall, [{"seconds": r.seconds, "score": r.score, "loss": r.train_loss} for r in records]

    def tuned(_: int) -> tuple[float, list[dict[str, float]]]:
        command = [sys.executable, str(HERE / "tune_lightning.py"), str(folder), str(cores), *map(str, seeds)]
        return process(command, folder)

    found = interleaved({"bare loops": bare, "harness run": ours, "Tune, a Lightning process a trial": tuned}, rounds)
    ideal = [own / cores for own in found["bare loops"].own]
    sound = table(f"Sweep of {trials} trials on {cores} cores", found, "bare loops", 0.05)
    print(f"\nharness run against bare training times over the cores: {ratio(found['harness run'].wall, ideal)}")
    tune = found["Tune, a Lightning process a trial"].wall
    print(f"Tune with Lightning against the harness: {ratio(tune, found['harness run'].wall)}")
    return sound


def main() -> int:
    """Measure what is asked; 1 where a peer came out worse."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=[], metavar="trial|small|words|sweep")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=64)
    given = parser.parse_args()
    asked = given.what or ["trial", "small", "words", "sweep"]
    middle = Work(128, 32, 700, 10, 0.003, 1.0, 10)
    small = Work(16, 8, 2500, 10, 0.003, 1.0, 10)
    second = Work(32, 32, 480, 2, 0.01, 1.0, 10)
    runs: dict[str, Callable[[Path], bool]] = {
        "trial": lambda at: one_trial(at, middle, given.rounds, "LSTM, 128 units, batches of 32, 64 steps"),
        "small": lambda at: one_trial(at, small, given.rounds, "LSTM, 16 units, batches of 8, 64 steps"),
        "words": lambda at: words(at, given.rounds),
        "sweep": lambda at: sweep(at, second, given.trials, given.rounds),
    }
    sound = True
    for name in asked:
        with tempfile.TemporaryDirectory() as folder:
            sound &= runs[name](Path(folder))
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
