"""Words to numbers: a vocabulary from the training split alone, rows padded to one length, and how far texts differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from harness.late import np

UNKNOWN = 1
"""Number of a word that the vocabulary lacks; 0 is padding, and END where a text is written."""
SPECIAL = ("<end>", "<unk>")


def vocabulary(texts: Iterable[Sequence[str]], most: int, least: int = 1) -> list[str]:
    """Return the `most` most frequent words that occur `least` times or more, the special ones first; ties by name."""
    counts = Counter(word for text in texts for word in text)
    words = sorted((word for word, n in counts.items() if n >= least), key=lambda word: (-counts[word], word))
    return [*SPECIAL, *words[: max(0, most - len(SPECIAL))]]


def numbered(texts: Sequence[Sequence[str]], words: Sequence[str], longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Return tokens (N, T) int32, 0 beyond each end, and lengths (N,); what is longer than `longest` is cut."""
    number = {word: i for i, word in enumerate(words)}
    rows = [[number.get(word, UNKNOWN) for word in text[:longest]] for text in texts]
    return padded(rows, 0), np.array([len(row) for row in rows], np.int64)


def padded(rows: Sequence[Sequence[int]], value: int, dtype: type | str = "int32") -> np.ndarray:
    """Return (N, longest) with `value` beyond the end of each row."""
    out: np.ndarray = np.full((len(rows), max(map(len, rows), default=0)), value, dtype)
    for target, row in zip(out, rows, strict=True):
        target[: len(row)] = row
    return out


def edit_distance(one: Sequence[str], other: Sequence[str]) -> int:
    """Fewest insertions, deletions and substitutions that make one sequence the other (Levenshtein 1966)."""
    above = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (a != b)))
        above = row
    return above[-1]
