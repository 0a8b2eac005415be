"""The harness beside what a user would write without it: whole processes in turn, ratios with intervals, one command.

    python benchmarks/peers/compare.py [trial] [small] [words] [sweep] [lstms] [grus] [--rounds 5] [--trials 66]
        [--no-tune]

trial   LSTM of 128 units, batches of 32, 64 steps, some ten seconds: bare torch loop, plain Lightning script, harness
small   the same with 16 units and batches of 8, where every call counts
words   the word language model of torch's examples, on Python's standard library by character (where it draws weights
        of embedding and decoder from +-0.1, the harness draws as torch does, and so learns faster at first)
sweep   Elman, GRU and LSTM networks of 32 units, equally many of each, one budget that takes a second on average, on
        every core: bare loops, the harness with --pack auto and without, and Tune with one Lightning process a trial
lstms   the same of LSTMs alone, a second each, of which packs make the least
grus    the same of GRUs of 16 units, two seconds each, without Tune

In each round every peer runs once, in an order that turns; a ratio is that of seconds in the same round, its interval a
bootstrap over rounds (95 %). Means over all trials are given with standard errors. None may reach a worse score or a
higher loss than the base, by more than 0.05 (words 0.15) and three standard errors: else the command ends with 1.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from turns import ENVIRONMENT, HERE, Run, interleaved, process, ratio, table
from work import Work, write

from harness import machine
from harness.trial import Trial


def benchmark(folder: Path, work: Work, seeds: Sequence[int], cells: Sequence[str] = ()) -> Path:
    """Write the benchmark file of the same work, with other `cells` than its own where they are given."""
    asked = {
        "question": "What does it cost?", "seeds": list(seeds),
        "set": {
            "hidden_size": work.hidden, "batch_size": work.batch, "learning_rate": work.rate, "clip_norm": work.clip,
            "evaluations": work.evaluations, "examples": work.updates * work.batch,
        },
        "sweep": {"task": "digits", "cell": list(cells) or work.cell},
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


def loops(folder: Path, names: Sequence[str]) -> Run:
    """Bare loops over all trials, their share on each core at once."""

    def run(_: int) -> tuple[float, list[dict[str, float]]]:
        begin, cores = time.perf_counter(), machine.cpu_count()
        command = [sys.executable, str(HERE / "bare.py"), str(folder)]
        shares = [[*command, *names[core::cores]] for core in range(cores)]
        running = [
            subprocess.Popen(share, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) for share in shares
        ]
        answers = [json.loads(line) for one in running for line in one.communicate()[0].splitlines()]
        return time.perf_counter() - begin, answers

    return run


def harness_run(folder: Path, file: Path, *options: str) -> Run:
    """The command over all trials, into results of its own each time."""

    def run(number: int) -> tuple[float, list[dict[str, float]]]:
        from harness.storage import store

        results = folder / f"results{number}{''.join(options)}"
        wall, _ = process(
            [sys.executable, "-m", "harness", "run", str(file), "--results", str(results), *options], folder
        )
        records = store.open_folder(results / file.stem)
        return wall, [{"seconds": r.seconds, "score": r.score, "loss": r.train_loss} for r in records]

    return run


def sweep(folder: Path, work: Work, cells: Sequence[str], trials: int, rounds: int, tune: bool) -> bool:
    """Equally many trials of each cell: what bare loops take on all cores, the harness with and without packs, and
    `tune` with one Lightning process a trial."""
    digits(folder, work)
    seeds, cores = list(range(trials // len(cells))), machine.cpu_count()
    names = [f"{cell}-{seed}" for seed in seeds for cell in cells]
    file = benchmark(folder, work, seeds, cells)

    def tuned(_: int) -> tuple[float, list[dict[str, float]]]:
        return process([sys.executable, str(HERE / "tune_lightning.py"), str(folder), str(cores), *names], folder)

    ours = {"--pack auto": harness_run(folder, file, "--pack", "auto"), "--pack off": harness_run(folder, file)}
    others = {"Tune, a Lightning process a trial": tuned} if tune else {}
    found = interleaved({"bare loops": loops(folder, names)} | ours | others, rounds)
    sound = table(f"Sweep of {len(names)} trials on {cores} cores: {', '.join(cells)}", found, "bare loops", 0.05)
    ideal = [own / cores for own in found["bare loops"].own]
    for name in ours:
        print(f"\n{name} against bare training times over the cores: {ratio(found[name].wall, ideal)}")
        for other in others:
            print(f"{other} against {name}: {ratio(found[other].wall, found[name].wall)}")
    return sound


NAMES = ("trial", "small", "words", "sweep", "lstms", "grus")


def main() -> int:
    """Measure what is asked; 1 where a peer came out worse."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=[], metavar="|".join(NAMES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=66)
    parser.add_argument("--no-tune", action="store_true", help="sweeps without Ray Tune, which takes minutes a round")
    given = parser.parse_args()
    middle = Work(128, 32, 700, 10, 0.003, 1.0, 10)
    small = Work(16, 8, 2500, 10, 0.003, 1.0, 10)
    every, second = Work(32, 32, 240, 2, 0.01, 1.0, 10), Work(32, 32, 480, 2, 0.01, 1.0, 10)
    gru, many = Work(16, 16, 250, 2, 0.01, 1.0, 10), (given.trials, given.rounds)
    made: list[Callable[[Path], bool]] = [
        lambda at: one_trial(at, middle, given.rounds, "LSTM, 128 units, batches of 32, 64 steps"),
        lambda at: one_trial(at, small, given.rounds, "LSTM, 16 units, batches of 8, 64 steps"),
        lambda at: words(at, given.rounds),
        lambda at: sweep(at, every, ("elman", "gru", "lstm"), *many, tune=not given.no_tune),
        lambda at: sweep(at, second, ("lstm",), *many, tune=not given.no_tune),
        lambda at: sweep(at, gru, ("gru",), *many, tune=False),
    ]
    runs, asked = dict(zip(NAMES, made, strict=True)), given.what or NAMES
    sound = True
    for name in asked:
        with tempfile.TemporaryDirectory() as folder:
            sound &= runs[name](Path(folder))
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
