"""Where the first NaN or infinity is: run once, after an update has failed."""

from __future__ import annotations

from torch import Tensor, nn

from harness.data.batches import Batch
from harness.models.base import Model
from harness.models.layer import Mark
from harness.models.stepwise import Repeat, first_bad_gradient


def owner(parameter_name: str) -> str:
    """Layer of a parameter, for people: 'stack.layers.0.0.weight_hh' is 'layers.0', of an encoder or a decoder
    'decoder.layers.0'; 'head.bias' is 'head'."""
    parts = parameter_name.split(".")
    return ".".join(parts[:3]).removeprefix("stack.") if parts[1] == "layers" else parts[0]


def first_non_finite(model: Model, batch: Batch, repeat: Repeat) -> tuple[str, int | None, str]:
    """Return (layer, time step or None, what) of the first non-finite value of a failed update.

    First the forward pass is repeated; if it is clean the gradient is at fault, and `repeat` does the backward one as
    well. What neither shows is that of a weight outside the recurrent layers, which belongs to no step: backward runs
    from the head down, so the first is the one nearest the head.
    """
    training, carried = model.training, model.carried
    model.eval()  # dropout would need the same draw; a unit that is dropped cannot be the first bad one
    try:
        found = model.first_bad_state(batch)
        if found is None:
            model.carried = {False: model.began}
            found = first_bad_gradient(model, repeat)
    finally:
        model.train(training)
        model.carried = carried
    if found is not None:
        return found
    bad = [name for name, p in model.named_parameters() if p.grad is not None and not p.grad.norm().isfinite()]
    return (owner(bad[-1]), None, "a gradient is not finite") if bad else ("head", None, "the loss is not finite")


def first_bad_mark(x_BTD: Tensor, marks: list[list[Mark]], out_BTH: Tensor) -> tuple[str, int | None, str] | None:
    """Judge a forward pass by its input, its states (one step a mark) and its output."""
    if not bool(x_BTD.isfinite().all()):
        return "input", _first(x_BTD), "the input is not finite"
    found = []
    for layer, states in enumerate(marks):
        bad = [m.step - 1 for m in states if not all(bool(t.isfinite().all()) for t in (m.output_BPH, *m.others))]
        found += [(bad[0], layer)] if bad else []
    if found:
        step, layer = min(found)
        return f"layers.{layer}", step, "a state is not finite"
    if not bool(out_BTH.isfinite().all()):
        return f"layers.{len(marks) - 1}", _first(out_BTH), "an output is not finite"
    return None


def _first(x_BTD: Tensor) -> int:
    return int((~x_BTD.isfinite()).flatten(2).any(2).any(0).int().argmax())


def largest_gradient(model: nn.Module) -> str:
    """Return the layer that holds the largest gradient norm of one parameter."""
    norms = {name: float(p.grad.norm()) for name, p in model.named_parameters() if p.grad is not None}
    return owner(max(norms, key=lambda name: norms[name])) if norms else "head"
