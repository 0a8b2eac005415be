"""Texts as streams of symbols, characters or words, each due after those before it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path

from harness.data.own import files
from harness.errors import Fault, UserError
from harness.late import np
from harness.tasks.base import SPLITS, Examples, Split

UNKNOWN = "\ufffd"
"""Stands for a character that the training split lacks."""
UNKNOWN_WORD, LINE_END = "<unk>", "<eos>"
Text = dict[Split, str]


def penn_words(text: str) -> Iterator[str]:
    """Yield the words of a text with a symbol at the end of each line (Mikolov et al., Interspeech 2010).

    One by one: a hundred million words as Python's strings would be six gigabytes.
    """
    for line in text.splitlines():
        yield from line.split()
        yield LINE_END


def penn_characters(text: str) -> str:
    """Mikolov's character corpus of the same text: lines stripped, each closed by a newline, spaces written "_"."""
    return "".join(line.strip().replace(" ", "_") + "\n" for line in text.splitlines())


def cut(text: str, shares: Sequence[float]) -> Text:
    """Part a text by position: training, validation and test split, in this order, of these shares."""
    edges = [0, *(int(len(text) * sum(shares[:n])) for n in (1, 2)), len(text)]
    return {split: text[start:stop] for split, start, stop in zip(SPLITS, edges, edges[1:], strict=False)}


def own_text(data: str) -> Text:
    """Return a user's text: files named for the splits, or else all files in order, parted 80 : 10 : 10.

    Raises UserError for what is not UTF-8, with file, line and byte, and where a split has no file.
    """
    texts, faults = {}, []
    for path in files(data):
        try:
            texts[path] = path.read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            line = path.read_bytes()[: error.start].count(b"\n") + 1
            faults.append(Fault(f"line {line}: byte {error.start} is no UTF-8", where=str(path), allowed="text, UTF-8"))
    if faults:
        raise UserError(faults)
    named = {split: [t for p, t in texts.items() if _split_of(p) == split] for split in SPLITS}
    if any(named.values()) and not all(named.values()):
        missing = ", ".join(split for split in SPLITS if not named[split])
        raise UserError(Fault(f"no file for {missing}", where=data, allowed="train.txt, valid.txt and test.txt"))
    found = {split: "".join(t) for split, t in named.items()} if any(named.values()) else None
    return found or cut("".join(texts.values()), (0.8, 0.1, 0.1))


def refuse_short(symbols: Mapping[Split, Sized], data: str, what: str) -> None:
    """Raise UserError for a split in which nothing follows anything."""
    if any(len(found) < 2 for found in symbols.values()):
        lengths = ", ".join(f"{split} {len(found)}" for split, found in symbols.items())
        raise UserError(Fault(f"too few {what}: {lengths}", where=data, allowed="at least 2 in each split"))


def _split_of(path: Path) -> str:
    return {"dev": "valid", "val": "valid", "validation": "valid"}.get(path.stem.lower(), path.stem.lower())


def characters(train: Sequence[str]) -> list[str]:
    """The alphabet of a training split, the unknown character first."""
    return [UNKNOWN, *sorted(set(train) - {UNKNOWN})]


def words(train: Iterable[str], most: int) -> list[str]:
    """The `most` most frequent words of a training split, ties by name; the unknown word is one of them."""
    counts = Counter(train)
    return [UNKNOWN_WORD, *sorted(counts.keys() - {UNKNOWN_WORD}, key=lambda word: (-counts[word], word))][:most]


def numbered(symbols: Iterable[str], known: Sequence[str]) -> np.ndarray:
    """Return the number of each symbol; what is not known has that of the unknown one."""
    number = {symbol: i for i, symbol in enumerate(known)}
    unknown = number[UNKNOWN_WORD] if UNKNOWN_WORD in number else number[UNKNOWN]
    if not isinstance(symbols, str):
        return np.fromiter((number.get(symbol, unknown) for symbol in symbols), np.int32)
    table = np.full(sys.maxunicode + 1, unknown, np.int32)  # looked up at once: a hundred million characters take 1 s
    table[[ord(symbol) for symbol in known]] = range(len(known))
    return table[np.frombuffer(symbols.encode("utf-32-le", "surrogatepass"), np.uint32)]


def next_symbol(documents: Sequence[np.ndarray]) -> Examples:
    """Documents as streams: at each step the next symbol is due. A document's first symbol never is."""
    longest = max(map(len, documents)) - 1
    dtype = np.int16 if max(int(text.max()) for text in documents) < 2**15 else np.int32
    inputs = np.zeros((len(documents), longest), dtype)
    targets = np.full((len(documents), longest), -100, dtype)
    for row, text in enumerate(documents):
        inputs[row, : len(text) - 1], targets[row, : len(text) - 1] = text[:-1], text[1:]
    return Examples(inputs, targets, np.array([len(text) - 1 for text in documents]))


def unigram_nats(train: Examples, test: Examples, symbols: int) -> float:
    """Nats per due symbol of the test split under the frequencies of due symbols in the training split, each count plus
    1, so that a symbol which the training split lacks is not infinitely surprising."""
    counts = np.bincount(train.targets[train.targets != -100], minlength=symbols) + 1
    return float(-np.log(counts / counts.sum())[test.targets[test.targets != -100]].mean())
