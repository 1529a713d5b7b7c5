"""Muon for matrices and kernels, AdamW for all else, behind the face of one optimiser.

Muon makes the update of every matrix orthogonal, so that rare directions learn as fast as frequent ones
(Jordan et al. 2024, "Muon: an optimizer for hidden layers"). A kernel (outer, inner, height, width) is a
matrix (outer, inner * height * width).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

FEWEST = 8  # outputs below which a matrix is a head, not a hidden layer


def adamw(parameters: Iterable[nn.Parameter], rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW as every trainer uses it."""
    return torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.98), weight_decay=weight_decay, fused=True)


class MuonAdamW:
    """What ``loop.train`` asks of an optimiser. ``parameters`` of two dimensions or more, at least ``FEWEST``
    in the first, go to torch.optim.Muon, scaled so that AdamW's rates suit them too."""

    def __init__(self, parameters: Iterable[nn.Parameter], rate: float, weight_decay: float) -> None:
        every = list(parameters)
        self._kernels = [p for p in every if p.ndim >= 2 and p.shape[0] >= FEWEST]
        self._matrices = [nn.Parameter(p.detach().view(p.shape[0], -1)) for p in self._kernels]  # shared
        hidden = {id(p) for p in self._kernels}
        self._muon = torch.optim.Muon(
            self._matrices, lr=rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
        )
        self._adamw = adamw([p for p in every if id(p) not in hidden], rate, weight_decay)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of both, whose rates may be set."""
        return self._muon.param_groups + self._adamw.param_groups

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of every parameter."""
        for kernel in self._kernels:
            kernel.grad = None
        self._adamw.zero_grad(set_to_none)

    def step(self) -> None:
        """One update by the parameters' gradients."""
        for kernel, matrix in zip(self._kernels, self._matrices, strict=True):
            matrix.grad = None if kernel.grad is None else kernel.grad.reshape(matrix.shape)
        self._muon.step()
        self._adamw.step()

    def state_dict(self) -> dict[str, Any]:
        """Of both, by name."""
        return {"muon": self._muon.state_dict(), "adamw": self._adamw.state_dict()}

    def load_state_dict(self, state: dict[str, dict[str, Any]]) -> None:
        """Inverse of state_dict."""
        self._muon.load_state_dict(state["muon"])
        self._adamw.load_state_dict(state["adamw"])
