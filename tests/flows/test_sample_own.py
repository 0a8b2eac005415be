"""From a user's own files to an answer: each family is trained by `harness run` and asked by `harness sample`."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.cli.main import main

RATE = 8_000
COLOURS = {"red": (220, 30, 30), "blue": (0, 90, 255), "green": (20, 150, 50)}
WORDS = {"one": "eins", "two": "zwei", "apples": "Äpfel", "pears": "Birnen", "and": "und"}


def png(path: Path, colour: tuple[int, ...]) -> None:
    Image.new("RGB", (24, 24), colour).save(path)


def wav(path: Path, pitch: float, seconds: float = 0.1) -> None:
    time = np.arange(int(RATE * seconds)) / RATE
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((8_000 * np.sin(2 * np.pi * pitch * time)).astype("<i2").tobytes())


def captions(own: Path) -> tuple[str, str]:
    lines = []
    for number in range(30):
        name = [*COLOURS][number % 3]
        png(own / f"{number}.png", tuple(min(255, part + number // 3) for part in COLOURS[name]))
        lines.append(f"{number}.png\tThis is all {name}.")
    (own / "captions.tsv").write_text("\n".join(lines))
    png(own.parent / "mine.png", (24, 146, 52))
    return str(own.parent / "mine.png"), "this is all green"


def sounds(own: Path) -> tuple[str, str]:
    for number in range(60):
        name, pitch = (("low", 300), ("high", 1_500))[number % 2]
        wav(own / f"{name}_{number}.wav", pitch * (0.9 + number / 300))
    wav(own.parent / "mine.wav", 1_480)
    return str(own.parent / "mine.wav"), "high"


def tracks(own: Path) -> tuple[str, str]:
    rng = np.random.default_rng(0)

    def write(path: Path, count: int) -> None:
        length = rng.integers(4, 9, count)
        way = np.concatenate([np.arange(n) * (-1) ** i for i, n in enumerate(length)])
        pose = rng.normal(size=(len(way), 3, 2)) * 0.1 + way[:, None, None] * [0, 1]
        out = io.BytesIO()
        np.savez(out, pose=pose.astype(np.float32), length=length, label=np.array(["up", "down"] * count)[:count])
        path.write_bytes(out.getvalue())

    for split, count in (("train", 60), ("valid", 10), ("test", 10)):
        write(own / f"{split}.npz", count)
    write(own.parent / "mine.npz", 1)
    return str(own.parent / "mine.npz"), "up"


def sentences(own: Path) -> tuple[str, str]:
    rng = np.random.default_rng(0)
    for split, count in (("train", 400), ("valid", 20), ("test", 20)):
        drawn = [[rng.choice(["one", "two"]), rng.choice(["apples", "pears"])] for _ in range(2 * count)]
        lines = [[*one, "and", *other] for one, other in zip(drawn[::2], drawn[1::2], strict=True)]
        rows = [f"{' '.join(line)}\t{' '.join(WORDS[word] for word in line)}" for line in lines]
        (own / f"{split}.tsv").write_text("\n".join(rows), encoding="utf-8")
    return "two pears and one apples", "zwei Birnen und eins Äpfel"


def spelling(own: Path) -> tuple[str, str]:
    rng = np.random.default_rng(0)
    words = sorted({"".join(rng.choice(list("abdeko"), rng.integers(2, 5))) for _ in range(900)})
    (own / "words.dict").write_text("\n".join(f"{word} {' '.join(word.upper())}" for word in words))
    return "bad", "B A D"


def opinions(own: Path) -> tuple[str, str]:
    rng, rows = np.random.default_rng(0), []
    for number in range(300):
        label = ("good", "bad")[number % 2]
        adjective = {"good": ["great", "fine", "lovely"], "bad": ["awful", "dull", "poor"]}[label][rng.integers(3)]
        rows.append(f"The film {number} is {adjective}.\t{label}")
    (own / "reviews.tsv").write_text("\n".join(rows))
    return "What a lovely film!", "good"


LOOKING_BACK = {"attention": "dot", "bidirectional": "true", "batching": "by-length"}
FAMILIES = {
    "captioning": (captions, "{rows: 1}", {"examples": 4_000, "learning_rate": 0.03}),
    "speech": (sounds, "{}", {"examples": 1_500}),
    "video": (tracks, "{}", {"examples": 2_000}),
    "translation": (sentences, "{pieces: 50}", {"examples": 6_000, **LOOKING_BACK}),
    "pronunciation": (spelling, "{}", {"examples": 8_000, **LOOKING_BACK}),
    "sentiment": (opinions, "{}", {"examples": 2_000}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_trained_on_own_files_answers_a_question_of_the_user(name, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "own"
    own.mkdir()
    make, settings, more = FAMILIES[name]
    question, answer = make(own)
    task = f"{{name: {name}, data: {own}, {settings.strip('{}')}}}"
    plain = {"cell": "lstm", "hidden_size": 24, "batch_size": 16, "learning_rate": 0.01, "schedule": "cosine"}
    lines = [f"{key}: {value}" for key, value in {**plain, "evaluations": 1, **more}.items()]
    Path("x.yaml").write_text(f"question: Is it learned?\nset: {{{', '.join(lines)}}}\nsweep:\n  - task: {task}\n")
    assert main(["run", "x.yaml", "--on", "inline", "--wandb", "off"]) == 0, capsys.readouterr().err
    (record,) = Path("results").glob("x/*/*.parquet")
    capsys.readouterr()
    assert main(["sample", str(record), "--input", question]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(f"{name}, lstm, trial ") and f"got     {answer}" in told, "\n".join(told)
    assert not any(line.startswith("wanted") for line in told), "nobody knows what is right"
    assert main(["sample", record.stem, "--index", "0"]) == 0
    assert any(line.startswith("wanted") for line in capsys.readouterr().out.splitlines())
    assert main(["sample", record.stem, "--input", " "]) == 2
    assert capsys.readouterr().err.startswith("error: ")
