"""A population that is killed at any moment goes on from its last exchange, and comes to the same records."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.record import Record
from harness.storage.store import open_folder

pytestmark = pytest.mark.slow

TEXT = """\
question: Does a population outlive its command?
name: bred
set: {examples: 12000, batch_size: 16, hidden_size: 12, evaluations: 6}
sweep: {task: {name: adding, length: 10, train_examples: 500, valid_examples: 64, test_examples: 64}, cell: lstm}
search:
  kind: population
  tries: 4
  space: {learning_rate: {from: 0.0001, to: 0.3, scale: log}, clip_norm: [0.5, 1.0, 2.0]}
"""
WAIT = 280.0


def start(folder: Path) -> subprocess.Popen[bytes]:
    (folder / "bred.yaml").write_text(TEXT)
    words = ["run", str(folder / "bred.yaml"), "--results", str(folder / "r"), "--wandb", "off"]
    with open(folder / "log", "ab") as log:
        return subprocess.Popen([sys.executable, "-m", "harness", *words], stdout=log, stderr=log, process_group=0)


def said(folder: Path) -> str:
    logs = [folder / "log", *folder.glob("r/bred/logs/*.log")]
    return "\n".join(path.read_text(errors="replace")[-8_000:] for path in logs)


def numbers(folder: Path) -> list[str]:
    def told(record: Record) -> str:
        return repr((record.search, record.trial_id, record.without_times()))

    return sorted(map(told, open_folder(folder / "r" / "bred")))


def reached(folder: Path) -> int:
    """The last evaluation of which a try left its state for an exchange."""
    found = folder.glob("r/bred/*/*.population/[0-9]-[0-9]-*")
    return max((int(path.name.split("-")[1]) for path in found), default=0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("whole")
    assert start(folder).wait(WAIT) == 0, said(folder)
    assert not list(folder.rglob("*.population")), "it is over, so nothing is remembered"
    return numbers(folder)


def test_killed_and_asked_to_stop_it_goes_on_from_its_last_exchange_each_time(whole, tmp_path):
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    draw, came_to = random.Random(seed), [0]
    for how, further in ((signal.SIGKILL, 2), (signal.SIGTERM, 1)):
        process, until = start(tmp_path), time.monotonic() + WAIT
        while reached(tmp_path) < came_to[-1] + further:
            assert process.poll() is None and time.monotonic() < until, said(tmp_path)
            time.sleep(0.02)
        time.sleep(draw.random() / 4)
        came_to.append(reached(tmp_path))
        os.kill(process.pid, how)
        assert process.wait(WAIT) == (75 if how == signal.SIGTERM else -how), said(tmp_path)
    assert " and 1 population at an exchange; type the same command" in said(tmp_path)
    assert start(tmp_path).wait(WAIT) == 0, said(tmp_path)
    assert numbers(tmp_path) == whole
    for log, evaluation in zip(sorted(tmp_path.glob("r/bred/logs/*.log")), came_to, strict=True):
        begun = [int(update) for update in re.findall(r"goes on from update (\d+) of 750", log.read_text())]
        again = f"what came before the exchange after evaluation {evaluation - 1} is not made again: {begun}"
        assert not evaluation or (begun and min(begun) >= (evaluation - 1) * 125), again
    assert not list(tmp_path.rglob("*.population"))
