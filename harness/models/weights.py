"""Trained weights as bytes: named tensors that `torch.load(weights_only=True)` reads, and the hash that names them."""

from __future__ import annotations

import hashlib
import io
import pickle

import torch
from torch import nn


def digest(model: nn.Module) -> str:
    """SHA-256 over the names and bytes of all trained weights: equal trials, equal hash."""
    found = hashlib.sha256()
    for name, weight in model.named_parameters():
        found.update(name.encode())
        found.update(weight.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def packed(model: nn.Module) -> bytes:
    """Return the weights of a model as the bytes of a file, the same for the same weights."""
    out = io.BytesIO()
    torch.save({name: weight.detach().cpu().clone() for name, weight in model.state_dict().items()}, out)
    return out.getvalue()


def restore(model: nn.Module, data: bytes, sha256: str) -> None:
    """Give a model the weights in a file. Nothing in it is run. Raises ValueError, saying what is wrong with it, where
    it is cut, altered, of another model, or not what `sha256` (of the record) names."""
    if not data.startswith(b"PK"):  # torch warns of older formats; ours is a ZIP
        raise ValueError("cannot be read: is empty, or no file of weights")
    try:
        tensors = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        model.load_state_dict(tensors)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise ValueError(f"cannot be read: {str(error).splitlines()[0] if str(error) else 'no weights'}") from error
    if digest(model) != sha256:
        raise ValueError("was altered: these are not the weights that the record names")
