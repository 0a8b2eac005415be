"""Prepared data cost nothing until they are read: 100 million tokens open at once, and no path copies them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.data import prepared
from harness.tasks.base import Examples, Shape

TOKENS = 100_000_000
MIB = 1 << 20

LOOK = """
    import json, sys, time
    from pathlib import Path

    import torch

    from harness.data.prepared import Prepared
    from harness.data.streams import EvalStreams, StreamBatches
    from harness.data.splits import data_hash
    from harness.data.loaders import EVAL_STREAMS, EVAL_WINDOW
    from harness.tasks.base import SPLITS

    def resident():
        lines = Path("/proc/self/status").read_text().splitlines()
        kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith("Rss")}
        return {name: kib[name] << 10 for name in ("RssAnon", "RssFile")}

    def opened():
        begin = time.perf_counter()
        ready = Prepared.open(Path(sys.argv[1]))
        data = {split: ready.split(split) for split in SPLITS}
        data_hash(data)
        return data, time.perf_counter() - begin

    Prepared.open(Path(sys.argv[1])).split("test")  # what is imported then is not the data's
    before = resident()
    data, seconds = opened()
    after = resident()
    report = {"opened": {name: after[name] - before[name] for name in before}, "most": 0, "tokens": []}
    report["seconds"] = min(seconds, *(opened()[1] for _ in range(4)))  # a core that is shared is slow, now and then

    def read(loader, batches):
        start, tokens = resident()["RssAnon"], 0
        for _, batch in zip(range(batches), loader, strict=False):
            tokens += batch.tokens
            report["most"] = max(report["most"], resident()["RssAnon"] - start)
        report["tokens"].append(tokens)

    read(StreamBatches(data["train"], 64, 128, 128, 0, 40 * 64 * 128), 40)
    read(StreamBatches(data["train"], 64, 128, 32, 0, 20 * 64 * 32), 20)
    read(EvalStreams(data["train"], EVAL_STREAMS, EVAL_WINDOW), 20)
    print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `prepared` stores of three texts of so many random letters; the readers of texts have tests of their own."""
    text = np.random.default_rng(0).integers(1, 27, TOKENS + 1, np.int8).astype(np.int16)
    long = Examples(text[None, :-1], text[None, 1:], np.array([TOKENS]))
    short = Examples(long.inputs[:, :1000], long.targets[:, :1000], np.array([1000]))
    content = prepared.Content(
        Shape(TOKENS, outputs=27, vocabulary=27), 1.0, {"train": long, "valid": short, "test": short}, {}
    )
    place = prepared.Place(tmp_path_factory.mktemp("cache") / "autocomplete-long", {"key": {"task": "autocomplete"}})
    return prepared.prepared(place, lambda: content).folder


@pytest.mark.slow
def test_a_stream_of_a_hundred_million_tokens_opens_at_once_and_is_never_copied(folder: Path, run_python):
    """400 MB on disk. A copy would be anonymous memory; pages of the file are the system's to share and to drop."""
    out, err = run_python(LOOK, str(folder)).communicate(timeout=300)
    assert out, err
    report = json.loads(out)
    assert (folder / "train.arrow").stat().st_size > 4 * TOKENS
    assert report["seconds"] < 0.1, report
    assert report["opened"]["RssAnon"] < 2 * MIB and report["opened"]["RssFile"] < 8 * MIB, report
    assert report["tokens"] == [40 * 64 * 128, 20 * 64 * 32, 20 * 32 * 256]
    assert report["most"] < 8 * MIB, report
