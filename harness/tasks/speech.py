"""Speech: spoken words named, or written down."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from harness.data import archives, own, read_wav, sources
from harness.data.prepared import Content
from harness.data.text import edit_distance, padded
from harness.errors import Fault, UserError
from harness.late import np
from harness.tasks._prepared import PreparedTask
from harness.tasks.base import SPLITS, Examples, Shape, Split

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
DRAWN: dict[Split, int] = {"train": 2_000, "valid": 200, "test": 300}
"""Sequences of joined digits."""
Spoken = tuple["np.ndarray", list[str]]
"""Samples (T,), words."""


class Speech(PreparedTask):
    """Speech: name a spoken word (many-to-one, accuracy), or write down several (many-to-many by CTC, word error rate).

    Free Spoken Digit Dataset (Jackson et al. 2018), 10 digits by 6 speakers, 50 times each: `fsdd` with the canonical
    split, recordings 0-4 of each test, and of the others 5-9 validate and 10-49 train; `fsdd-theo`, and so for each
    speaker, tests on all recordings of one who is not heard in training, 5-9 of the others validate.
    `fsdd-concatenated`: 3 to 7 digits of one speaker, drawn from a split of `fsdd` and joined (real sound, synthetic
    sequences). `yesno` (OpenSLR 1): 60 utterances of 8 Hebrew words; names that begin with 1 test, as in the Kaldi
    tutorial, and of the others each sixth validates. A folder of yours: `label_anything.wav`, or one TSV of file name
    and words; 80 / 10 / 10 % by a hash of the name.
    Features: `mels` log-mel energies each `hop_ms` from windows of 25 ms, normalised by the training split, in 8 bits.
    """

    data: str = "fsdd"
    mels: int = Field(40, ge=4, le=128, description="filters on the mel scale: width of the input")
    hop_ms: Literal[5, 10, 20] = Field(10, description="milliseconds from a step to the next")

    sets: ClassVar = {
        **{name: ("fsdd/recordings.zip",) for name in ("fsdd", *(f"fsdd-{who}" for who in SPEAKERS))},
        "fsdd-concatenated": ("fsdd/recordings.zip",),
        "yesno": ("yesno/waves_yesno.zip",),
    }

    @cached_property
    def words(self) -> bool:
        """Whether several words are due."""
        if self.own:
            return read_wav.transcripts(self.data) is not None
        return self.data in ("fsdd-concatenated", "yesno")

    @property
    def mapping(self):  # type: ignore[override]
        return "many-to-many" if self.words else "many-to-one"

    @property
    def objective(self):  # type: ignore[override]
        return "ctc" if self.words else "cross-entropy"

    @property
    def metric(self):  # type: ignore[override]
        return "word_error_rate" if self.words else "accuracy"

    def prepare(self):
        rate, spoken = self._spoken()
        known = sorted({word for _, words in spoken["train"] for word in words})
        names = ["<blank>", *known] if self.words else known
        number = {word: i for i, word in enumerate(names)}
        unknown = sorted({word for rows in spoken.values() for _, words in rows for word in words} - set(known))
        if unknown:
            what = f"not in the training split: {', '.join(unknown[:5])}"
            raise UserError(Fault(what, where=self.data, allowed="words that are trained on", remedy="more recordings"))
        features = {split: [self._features(x, rate) for x, _ in rows] for split, rows in spoken.items()}
        mean, deviation = read_wav.statistics(features["train"])
        splits = {}
        for split, rows in spoken.items():
            inputs, lengths = read_wav.quantised(features[split], mean, deviation)
            targets = padded([[number[word] for word in words] for _, words in rows], -100, np.int16)
            splits[split] = Examples(inputs, targets if self.words else targets[:, 0], lengths, scale=read_wav.SCALE)
        shape = Shape(
            steps=max(e.inputs.shape[1] for e in splits.values()),
            features=self.mels,
            outputs=len(names),
            target_steps=max(e.targets.shape[1] for e in splits.values()) if self.words else 0,
            blank=self.words,
        )
        facts = {"names": names, "rate": rate, "mean": mean.tolist(), "deviation": deviation.tolist()}
        return Content(shape, self._floor(spoken), splits, facts)

    def _features(self, sound: np.ndarray, rate: int) -> np.ndarray:
        return read_wav.log_mel(sound, rate, self.mels, self.hop_ms)

    def _spoken(self) -> tuple[int, dict[Split, list[Spoken]]]:
        """Return the rate and the recordings of each split."""
        if self.own:
            found = read_wav.recordings(self.data)
            split_of = own.dealt([name for name, _, _ in found])
        else:
            found = [self._of(name, content) for name, content in self._archive().items()]
            split_of = {name: self._split(name) for name, _, _ in found}
            if self.data == "yesno":
                rest = [name for name, split in split_of.items() if split == "train"]
                split_of |= dict.fromkeys(rest[::6], "valid")
        rows: dict[Split, list[Spoken]] = {split: [] for split in SPLITS}
        heard, faults = [], []
        for name, content, text in found:
            try:
                heard.append((name, *read_wav.samples(content, name), text.split()))
            except UserError as error:
                faults += error.faults
        rates = Counter(rate for _, rate, _, _ in heard)
        faults += [
            Fault(f"{rate} samples a second", where=name, allowed=f"{rates.most_common(1)[0][0]}, as most have")
            for name, rate, _, _ in heard
            if rate != rates.most_common(1)[0][0]
        ]
        if faults:
            raise UserError(faults)
        for name, _, sound, words in heard:
            rows[split_of[name]].append((sound, words))
        if self.data == "fsdd-concatenated":
            speakers = {split: [n.split("_")[1] for n, _, _ in found if split_of[n] == split] for split in SPLITS}
            rows = {split: joined(rows[split], speakers[split], split) for split in SPLITS}
        return next(iter(rates)), rows

    def _archive(self) -> dict[str, bytes]:
        return archives.members(
            sources.read(*self.sets[self.data][0].split("/")), lambda n: n if n.endswith(".wav") else None
        )

    def _of(self, name: str, content: bytes) -> tuple[str, bytes, str]:
        parts = Path(name).stem.split("_")
        said = [{"0": "no", "1": "yes"}[word] for word in parts] if self.data == "yesno" else parts[:1]
        return name, content, " ".join(said)

    def _split(self, name: str) -> Split:
        if self.data == "yesno":
            return "test" if Path(name).stem.startswith("1") else "train"
        _, speaker, index = Path(name).stem.split("_")
        apart = self.data.partition("-")[2]
        if apart in SPEAKERS:
            return "test" if speaker == apart else "valid" if 5 <= int(index) < 10 else "train"
        return "test" if int(index) < 5 else "valid" if int(index) < 10 else "train"

    def _floor(self, spoken: dict[Split, list[Spoken]]) -> float:
        train, test = ([words for _, words in spoken[split]] for split in ("train", "test"))
        if self.words:
            return error_rate(constant(train[:200]), test)
        commonest = Counter(words[0] for words in train).most_common(1)[0][0]
        return sum(words == [commonest] for words in test) / len(test)

    def ask(self, given):
        """The path of a WAV file."""
        path = Path(given).expanduser()
        if not path.is_file():
            raise UserError(Fault("no file there", where=given, allowed="the path of a WAV file"))
        rate, sound = read_wav.samples(path.read_bytes(), given)
        if rate != self.facts["rate"]:
            raise UserError(Fault(f"{rate} samples a second", where=given, allowed=f"{self.facts['rate']}"))
        mean, deviation = (np.array(self.facts[name], np.float32) for name in ("mean", "deviation"))
        inputs, lengths = read_wav.quantised([self._features(sound, rate)], mean, deviation)
        return Examples(inputs, np.full((1, 1) if self.words else 1, -100), lengths, scale=read_wav.SCALE)

    def told(self, inputs):
        return f"{len(inputs) * self.hop_ms / 1000:.2f} s of sound"

    def said(self, answer):
        return " ".join(self.facts["names"][int(number)] for number in np.atleast_1d(answer))


def joined(rows: list[Spoken], speakers: list[str], split: Split) -> list[Spoken]:
    """Return sequences of 3 to 7 recordings of one speaker, drawn by a fixed seed, with no pause between them."""
    rng = np.random.default_rng([3, SPLITS.index(split)])
    by = {who: [i for i, each in enumerate(speakers) if each == who] for who in SPEAKERS}
    out: list[Spoken] = []
    for number in range(DRAWN[split]):
        drawn: Any = rng.choice(by[SPEAKERS[number % len(SPEAKERS)]], rng.integers(3, 8))
        out.append((np.concatenate([rows[i][0] for i in drawn]), [word for i in drawn for word in rows[i][1]]))
    return out


def error_rate(guess: list[str], texts: list[list[str]]) -> float:
    """Word error rate of one answer to everything."""
    return sum(edit_distance(guess, text) for text in texts) / sum(map(len, texts))


def constant(texts: list[list[str]]) -> list[str]:
    """Return the answer to everything with the least word error rate that adding word by word finds; at first none."""
    words = [word for word, _ in Counter(word for text in texts for word in text).most_common(20)]
    best, rate = list[str](), 1.0
    while True:
        tried = [[*best[:i], word, *best[i:]] for i in range(len(best) + 1) for word in words]
        found = min((error_rate(guess, texts), guess) for guess in tried)
        if found[0] >= rate:
            return best
        rate, best = found
