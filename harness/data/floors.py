"""What a guess scores that ignores its input: one sentence for everything."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any

from harness.late import np

References = Sequence[Sequence[str]]
ORDER, LARGEST = 5, 2**63
"""Symbols of an n-gram, where as many fit into one whole number."""
Scorer = Callable[[Sequence[str], References], float]
"""(answers, right answers of each) -> a score, higher is better."""


def best_constant(candidates: Sequence[str], valid: References, test: References, score: Scorer) -> tuple[str, float]:
    """Return the candidate that scores best on the validation split as the answer to everything, and what it scores on
    the test split. A model that reads nothing can do no better than such a sentence, if the candidates hold it."""
    best = max(candidates, key=lambda text: score([text] * len(valid), valid))
    return best, score([best] * len(test), test)


def commonest(sentences: Sequence[str], most: int) -> list[str]:
    """Return the `most` commonest different sentences, ties by text."""
    counts = Counter(sentences)
    return sorted(counts, key=lambda text: (-counts[text], text))[:most]


def most_alike(texts: Sequence[Sequence[str]], most: int) -> list[int]:
    """Return the places of the `most` texts that share most words with the others: by the F1 that one expects of its
    different words against those of a text drawn from all."""
    sets = [set(text) for text in texts]
    counts = Counter(word for words in sets for word in words)
    mean = sum(map(len, sets)) / len(sets)
    expected = [sum(counts[w] for w in sorted(words)) / len(sets) / (len(words) + mean) for words in sets]
    return sorted(range(len(texts)), key=lambda place: (-expected[place], place))[:most]


def bleu(answers: Sequence[str], references: References) -> float:
    """Corpus BLEU by sacreBLEU, its defaults."""
    from sacrebleu import corpus_bleu

    most = max(map(len, references))
    streams: list[Any] = [[texts[i] if i < len(texts) else None for texts in references] for i in range(most)]
    return float(corpus_bleu(list(answers), streams).score)


def rouge(answers: Sequence[str], references: References, kind: str) -> list[float]:
    """F1 of each answer against its nearest reference, by Google's rouge-score with Porter's stems. `kind`: "rouge1",
    "rouge2" or "rougeL". A text without letters a to z and digits scores 0."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer([kind], tokenizer=_stems())
    return [
        scorer.score_multi(list(texts), text)[kind].fmeasure for text, texts in zip(answers, references, strict=True)
    ]


@cache
def _stems() -> Any:
    """The package's own words, but each text and each stem is found once: references meet every score."""
    from nltk.stem.porter import PorterStemmer
    from rouge_score import tokenize, tokenizers

    class Remembering(tokenizers.Tokenizer):
        stem = staticmethod(lru_cache(100_000)(PorterStemmer().stem))
        tokenize = staticmethod(lru_cache(100_000)(lambda text: tokenize.tokenize(text, Remembering)))

    return Remembering()


def stems(text: str) -> list[str]:
    """Words of a text as ROUGE counts them: in lower case, letters a to z and digits, stemmed."""
    return list(_stems().tokenize(text))


def most_matched(texts: Sequence[str], most: int) -> list[str]:
    """Return the `most` different texts of four words or more with the best BLEU against all of them, words parted by
    spaces, each n-gram matched once: the finalists for the best constant answer under BLEU."""
    rows = {text: text.split() for text in texts}
    having = [Counter(gram for text in texts for gram in _grams(rows[text], n)) for n in (1, 2, 3, 4)]
    usual = sum(len(rows[text]) for text in texts) / len(texts)

    def worth(text: str) -> float:
        words = rows[text]
        right = (sum(found[g] for g in _grams(words, n)) / (len(words) - n + 1) for n, found in enumerate(having, 1))
        return sum(map(math.log, right)) / 4 + min(0.0, 1 - usual / len(words))

    return sorted((text for text in rows if len(rows[text]) >= 4), key=lambda text: (-worth(text), text))[:most]


def _grams(words: list[str], n: int) -> set[tuple[str, ...]]:
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def next_symbol(train: np.ndarray, test: np.ndarray, symbols: int) -> np.ndarray:
    """Return p of each due symbol of `test`, row by row, given the four before it in its row (fewer where symbols are
    many), by interpolated Kneser-Ney (Kneser, Ney, ICASSP 1995; Chen, Goodman, TR-10-98) over the rows of `train`:

        p(y | c) = [max(0, n(c y) - d) + d t(c) p(y | c without its first symbol)] / n(c)

    n counts in training; of all n-grams but the longest it counts how many different symbols stand before. t(c):
    different symbols after c; d = n1 / (n1 + 2 n2), from n-grams that are there once and twice. Rows (N, U) of
    classes, each closed by an end, -100 beyond it.
    """
    base = symbols + 1  # one more than there are: what stands before a row
    order = max(n for n in range(1, ORDER + 1) if base**n < LARGEST)
    p_M = np.full(int((test != -100).sum()), 1 / symbols)
    for n in range(1, order + 1):
        seen = _ends(train, n, base) if n == order else np.unique(_ends(train, n + 1, base)) % base**n
        grams, counts = np.unique(seen, return_counts=True)
        contexts, first = np.unique(grams // base, return_index=True)
        totals, kinds = np.add.reduceat(counts, first), np.diff(np.append(first, len(grams)))
        once, twice = ((counts == times).sum() + 1 for times in (1, 2))  # plus 1: no d is 0, which would know all
        discount = once / (once + 2 * twice)
        asked = _ends(test, n, base)
        count_M, total_M = _found(grams, counts, asked), _found(contexts, totals, asked // base)
        rest_M = discount * _found(contexts, kinds, asked // base) * p_M
        p_M = np.where(total_M > 0, (np.maximum(count_M - discount, 0) + rest_M) / np.maximum(total_M, 1), p_M)
    return p_M


def _ends(rows: np.ndarray, n: int, base: int) -> np.ndarray:
    """Return a number for the n symbols that end in each due place, in order; base - 1 stands before a row."""
    before = np.full((len(rows), n - 1), base - 1, np.int64)
    padded, due = np.concatenate([before, rows.astype(np.int64)], 1), rows != -100
    numbers = np.zeros(int(due.sum()), np.int64)
    for place in range(n):
        numbers = numbers * base + padded[:, place : place + rows.shape[1]][due]
    return numbers


def _found(keys: np.ndarray, values: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Return the value of each key that is asked for, 0 for one that is not there."""
    place = np.searchsorted(keys, asked).clip(max=len(keys) - 1)
    return np.where(keys[place] == asked, values[place], 0)
