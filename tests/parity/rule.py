"""Weights and inputs by the rule that the stored reference outputs were made with: each array from its own
name."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

DATA = Path(__file__).parent / "data"


def generator(name: str, seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))


def normal(name: str, seed: int, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.from_numpy(generator(name, seed).standard_normal(shape, dtype=np.float32))


def weight(key: str, seed: int, shape: tuple[int, ...]) -> torch.Tensor:
    """The array of one state-dict key."""
    g = normal(key, seed, shape)
    leaf, parent = key.split(".")[-1], ["", *key.split(".")][-2]
    if leaf == "alpha":
        return (1 + 0.1 * g).abs()
    if leaf == "weight_g":
        return 0.6 * (1 + 0.1 * g)
    if leaf == "weight_v":
        return g / math.sqrt(math.prod(shape[1:]))
    if len(shape) == 1:
        return 1 + 0.1 * g if leaf == "weight" and "norm" in parent else 0.02 * g
    if leaf in ("weight", "in_proj_weight"):
        return g / math.sqrt(math.prod(shape[1:]))
    return 0.02 * g


def fill(module: nn.Module, seed: int) -> None:
    """Every weight of ``module`` by its name."""
    module.load_state_dict({k: weight(k, seed, tuple(v.shape)) for k, v in module.state_dict().items()})


def build(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A network whose every weight is made by its name, without random ones before them (half the memory)."""
    with torch.device("meta"):
        module = make().eval()
    state = {k: weight(k, seed, tuple(v.shape)) for k, v in module.state_dict().items()}
    module.load_state_dict(state, assign=True)
    return module


def inputs(name: str, seed: int, *shape: int) -> torch.Tensor:
    return normal(f"input.{name}", seed, shape)


def reference(name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Stored arrays and meta of one file."""
    with np.load(DATA / f"{name}.npz") as data:
        return {k: data[k] for k in data.files if k != "meta"}, json.loads(str(data["meta"]))


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))
