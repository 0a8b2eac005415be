"""METRICS: the one vocabulary of numbers.

The same string is Lightning key, W&B key, column and table header; names carry their unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """What a number is called, counts, and looks like in a table."""

    name: str
    title: str
    unit: str
    better: Literal["higher", "lower", ""]
    format: str
    doc: str
    timed: bool = False  # measured by a clock or a shared machine: not the same on every run


_METRICS = [
    Metric("accuracy", "accuracy", "", "higher", ".3f", "share of right answers on the test split"),
    Metric(
        "bits_per_character",
        "bits per character",
        "bits",
        "lower",
        ".3f",
        "mean of -log2 p(next character) over every character of the test split",
    ),
    Metric(
        "token_accuracy",
        "token accuracy",
        "",
        "higher",
        ".3f",
        "share of due symbols written rightly at their place, each fed what was written before it",
    ),
    Metric(
        "sequence_accuracy",
        "sequence accuracy",
        "",
        "higher",
        ".3f",
        "share of sequences written without a fault, the end included",
    ),
    Metric("cross_entropy", "cross-entropy", "nats", "lower", ".4f", "mean of -log p(answer) over the due answers"),
    Metric(
        "perplexity", "perplexity", "", "lower", ".2f", "exp of the mean of -log p(next word), each given those before"
    ),
    Metric("nats_per_frame", "nats per frame", "nats", "lower", ".3f", "mean of -log p(all notes of a frame)"),
    Metric("nats_per_image", "nats per image", "nats", "lower", ".2f", "mean of -log p(all pixels of an image)"),
    Metric(
        "entity_f1", "entity F1", "", "higher", ".3f", "F1 of whole entities, type and both ends right (CoNLL-2000)"
    ),
    Metric("bleu", "BLEU", "", "higher", ".2f", "sacreBLEU's corpus BLEU, 13a tokens, of what is written freely"),
    Metric("rouge_1", "ROUGE-1", "", "higher", ".3f", "mean F1 of stems against the nearest reference (rouge-score)"),
    Metric("rouge_2", "ROUGE-2", "", "higher", ".3f", "mean F1 of pairs of stems against the nearest reference"),
    Metric("rouge_l", "ROUGE-L", "", "higher", ".3f", "mean F1 of the longest common subsequence of stems"),
    Metric("word_error_rate", "word error rate", "", "lower", ".3f", "wrong, missing and added words over words due"),
    Metric(
        "pronunciation_error_rate",
        "words wrong",
        "",
        "lower",
        ".3f",
        "share of words none of whose known pronunciations was written",
    ),
    Metric(
        "phone_error_rate", "phone error rate", "", "lower", ".3f", "edits over phones of the nearest pronunciation"
    ),
    Metric("distinct_1", "distinct-1", "", "higher", ".3f", "different words over all words written"),
    Metric("distinct_2", "distinct-2", "", "higher", ".3f", "different word pairs over all words written"),
    Metric("skill", "skill", "", "higher", ".3f", "1 - error / error of the task's floor; 0 is the trivial forecast"),
    Metric("mse", "mean squared error", "", "lower", ".4f", "mean squared error on the test split"),
    Metric("parameters", "parameters", "", "", ",.0f", "trainable weights, encoder and head included"),
    Metric(
        "tokens_per_second",
        "useful tokens/s",
        "tokens/s",
        "higher",
        ",.0f",
        "time steps trained per second, padding excluded: median over updates after the warm-up",
        True,
    ),
    Metric("gradient_norm_median", "gradient norm median", "", "", ".3g", "global norm before clipping, over updates"),
    Metric("gradient_norm_p99", "gradient norm p99", "", "", ".3g", "99th percentile of the norm before clipping"),
    Metric(
        "skipped_updates",
        "skipped",
        "",
        "",
        ",.0f",
        "updates left out because the gradient overflowed at the loss scale of float16, which is then lowered",
    ),
    Metric("gradient_norm_max", "gradient norm max", "", "", ".3g", "largest finite norm before clipping"),
    Metric(
        "gradient_norm_after_median",
        "clipped norm median",
        "",
        "",
        ".3g",
        "global norm after clipping, over updates",
    ),
    Metric("clipped_share", "clipped", "", "", ".0%", "share of updates whose gradient was clipped"),
    Metric(
        "gradient_decay",
        "gradient decay per step",
        "",
        "",
        ".3f",
        "factor on |dL/dstate| per step of lag: exp of the slope of its log; 1 keeps the gradient, 0.5 halves it",
    ),
    Metric(
        "predicted_decay",
        "predicted decay per step",
        "",
        "",
        ".3f",
        "exp of the largest Lyapunov exponent of the trained layers: what the gradient decay per step tends to",
    ),
    Metric("gradient_horizon", "horizon", "steps", "higher", ".0f", "lag at which |dL/dstate| falls to 1 %"),
    Metric(
        "loss_spikes",
        "loss spikes",
        "",
        "lower",
        ",.0f",
        "updates whose loss is more than 2 times the median of the 50 losses before it",
    ),
    Metric("update_ratio_median", "update / weight", "", "", ".2g", "norm of an update over the norm of the weights"),
    Metric(
        "activation_bytes",
        "activations",
        "B",
        "lower",
        ",.0f",
        "most bytes that autograd held for the backward passes of one update, weights left out",
    ),
    Metric(
        "times_floor",
        "times its floor",
        "",
        "lower",
        ".1f",
        "time of an update over the longest of its floors on this machine: compute, bandwidth or latency",
        True,
    ),
    Metric(
        "mfu",
        "MFU",
        "",
        "higher",
        ".1%",
        "FLOPs of useful tokens over those of a matrix product in the same time, same threads and arithmetic",
        True,
    ),
    Metric("padding_share", "padding", "", "lower", ".0%", "share of the computed time steps that are padding"),
    Metric(
        "peak_memory_bytes",
        "peak memory",
        "B",
        "lower",
        ",.0f",
        "most memory that the process had resident while the trial ran, libraries included",
        True,
    ),
    Metric("train_loss", "training loss", "", "lower", ".4f", "mean loss of the last tenth of the updates"),
    Metric(
        "communication_seconds",
        "communication",
        "s",
        "lower",
        ",.1f",
        "of the training seconds those in which the first worker waited for the gradients of all to be added up",
        True,
    ),
    Metric(
        "speed_up",
        "own speed-up",
        "",
        "higher",
        ".2f",
        "useful tokens/s of several workers over those of one of them alone, in a few updates after the trial",
        True,
    ),
    Metric(
        "scaling_efficiency",
        "own efficiency",
        "",
        "higher",
        ".0%",
        "own speed-up over the number of workers: t_1 / (N t_N), found by the trial itself",
        True,
    ),
    Metric("train_seconds", "training seconds", "s", "lower", ",.1f", "wall time of the updates alone", True),
    Metric(
        "seconds",
        "seconds",
        "s",
        "lower",
        ",.1f",
        "wall time of the trial, data, evaluation and every attempt included",
        True,
    ),
]
METRICS: dict[str, Metric] = {metric.name: metric for metric in _METRICS}


_CURVES = [
    Metric("examples", "examples", "", "", ",.0f", "examples trained on so far; of a stream: windows"),
    Metric("updates", "updates", "", "", ",.0f", "optimiser steps so far"),
    Metric("tokens", "tokens", "", "", ",.0f", "useful time steps trained on so far"),
    Metric("lag", "lag", "steps", "", ",.0f", "steps back from where the loss is"),
    Metric("gradient_norm", "gradient norm", "", "", ".3g", "global norm before clipping, of one update"),
    Metric("gradient_by_lag", "gradient by lag", "", "", ".3g", "|dL/dstate|, median over the sampled updates"),
]
CURVES: dict[str, Metric] = {metric.name: metric for metric in _CURVES}
"""What is known along a trial and not of the whole of it, with what it is drawn over: keys of W&B's history."""


def valid(name: str) -> str:
    """Return what a score is called on the validation split."""
    return f"valid_{name}"
