"""Pronunciation of words: letters in, phones out."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from pydantic import Field

from harness.data import sources
from harness.data.own import files
from harness.data.prepared import Content
from harness.data.read_pairs import read_rows, split_of
from harness.data.text import UNKNOWN, numbered, padded, vocabulary
from harness.errors import Fault, UserError
from harness.late import np
from harness.tasks._prepared import PreparedTask
from harness.tasks.base import END, SPLITS, Examples, Shape, Split


class Pronunciation(PreparedTask):
    """Pronunciation: write the phones of a spelt word (encoder-decoder, share of words wrong).

    CMU Pronouncing Dictionary (Weide 1998): 126,052 English words. Split by a hash of the word, 90 / 5 / 5 %, since
    no split is canonical; all pronunciations of a word are trained on, and each is right. Stress is left out, as in the
    published numbers. Or your own dictionary: a word and its phones a line.
    """

    data: str = "cmudict"
    stress: bool = Field(False, description="keep the stress of vowels (AH0, AH1, AH2)")

    sets: ClassVar = {"cmudict": ("cmudict/cmudict.dict",)}
    mapping: ClassVar = "encoder-decoder"
    objective: ClassVar = "cross-entropy"
    metric: ClassVar = "pronunciation_error_rate"
    also: ClassVar = ("phone_error_rate", "perplexity")

    def prepare(self):
        known: dict[Split, dict[str, list[tuple[str, ...]]]] = {split: {} for split in SPLITS}
        for word, phones in self._entries():
            phones = phones if self.stress else tuple(phone.rstrip("012") for phone in phones)
            said = known[split_of(word)].setdefault(word, [])
            if phones not in said:
                said.append(phones)
        if empty := [split for split in SPLITS if not known[split]]:
            raise UserError(Fault("no word falls to this split", where=f"{self.data}, {name}") for name in empty)
        train = [(word, phones) for word, ways in known["train"].items() for phones in ways]
        letters = vocabulary((word for word, _ in train), 10_000)
        phones = vocabulary((said for _, said in train), 10_000)
        splits: dict[Split, Examples] = {"train": _examples(train, letters, phones)}
        for name in SPLITS[1:]:
            examples = _examples([(word, ways[0]) for word, ways in known[name].items()], letters, phones)
            texts = [[" ".join(way) for way in ways] for ways in known[name].values()]
            splits[name] = Examples(**(vars(examples) | {"references": texts}))
        steps, written = (max(getattr(e, side).shape[1] for e in splits.values()) for side in ("inputs", "targets"))
        shape = Shape(steps=steps, vocabulary=len(letters), outputs=len(phones), target_steps=written)
        commonest = Counter(way for ways in known["train"].values() for way in ways).most_common(1)[0][0]
        right = sum(commonest in ways for ways in known["test"].values()) / len(known["test"])
        return Content(shape, 1 - right, splits, {"letters": letters, "phones": phones})

    def _entries(self):
        """(word, phones) of each line; the second pronunciation of a word is named word(2)."""
        if self.own:
            return [entry for path in files(self.data) for entry in read_rows(path, _entry, "a word, then its phones")]
        return [_entry(line) for line in sources.read("cmudict", "cmudict.dict").decode().splitlines()]

    def ask(self, given):
        word = given.strip().lower()
        unknown = sorted(set(word) - set(self.facts["letters"]))
        if unknown or not word:
            what = f"no word was trained on with {' '.join(unknown)}" if word else "no word"
            raise UserError(Fault(what, allowed=" ".join(self.facts["letters"][UNKNOWN + 1 :]), remedy="hello"))
        return _examples([(word, ())], self.facts["letters"], self.facts["phones"])

    def told(self, inputs):
        return "".join(self.facts["letters"][i] for i in inputs if i != END)

    def said(self, answer):
        return " ".join(self.facts["phones"][i] for i in answer if i != END)


def _entry(line):
    word, *phones = line.partition("#")[0].split() or [""]
    if not phones:
        raise ValueError(f"a word without phones: {line[:40]!r}")
    return word.partition("(")[0].lower() or word, tuple(phones)


def _examples(rows, letters, phones):
    longest = max(len(word) for word, _ in rows)
    inputs, lengths = numbered([word for word, _ in rows], letters, longest)
    written, _ = numbered([said for _, said in rows], phones, max(len(said) for _, said in rows) or 1)
    targets = padded([[*row[: len(said)], END] for row, (_, said) in zip(written, rows, strict=True)], -100)
    return Examples(inputs.astype(np.int16), targets.astype(np.int16), lengths)
