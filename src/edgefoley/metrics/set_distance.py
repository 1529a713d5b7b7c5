"""How far two sets of sounds are from each other, by embeddings of their pieces. NumPy only.

Fréchet distance (Heusel et al. 2017; Kilgour et al. 2019 for sound): two normal distributions are fitted. It
is biased upwards for few pieces, so that it compares only sets of the same size. Kernel distance: the squared
maximum mean discrepancy with the cubic kernel of Bińkowski et al. (2018), without that bias; pieces of one
sound are not independent, so no sound is compared with itself or its own counterpart, and values may fall
below 0. A distance is of its embedder and bears its name.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgefoley.metrics.event_scores import DRAWS, LEVEL

Pieces = NDArray[np.float64]


def frechet_distance(first: Pieces, second: Pieces) -> float:
    """Of two sets of embeddings (n, D) and (m, D), 2 pieces or more each; 0 or more. Raises ValueError."""
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"two sets (2 or more, D) are wanted, got {a.shape} and {b.shape}")
    apart = a.mean(0) - b.mean(0)
    x, y = (np.atleast_2d(np.cov(rows, rowvar=False)) for rows in (a, b))
    # The trace of sqrt(xy) is the sum of the singular values of sqrt(x) sqrt(y): no root of a product of
    # matrices that is not symmetric is needed.
    shared = np.linalg.svd(_root(x) @ _root(y), compute_uv=False).sum()
    return float(max(0.0, apart @ apart + np.trace(x) + np.trace(y) - 2.0 * shared))


def _root(matrix: Pieces) -> Pieces:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(values.clip(0))) @ vectors.T, np.float64)


def kernel_distance(first: Sequence[Pieces], second: Sequence[Pieces]) -> dict[str, float]:
    """``mean`` and the 95 % bootstrap interval over sounds, ``low`` and ``high``. Item i of both lists: the
    pieces (n, D) of one clip's sound, all of one D. Raises ValueError for lists of different lengths or fewer
    than two clips."""
    return _summary(_Blocks.of(first, second), None)


def kernel_change(
    first: Sequence[Pieces], second: Sequence[Pieces], truth: Sequence[Pieces]
) -> dict[str, float]:
    """How much farther ``second`` is from ``truth`` than ``first`` is, as ``kernel_distance`` tells it; the
    same clips are drawn for both."""
    return _summary(_Blocks.of(second, truth), _Blocks.of(first, truth))


class _Blocks:
    """Mean kernels between the sounds of a clip and another's: own (a, a), own (b, b) and crossed (a, b)."""

    def __init__(self, a: Pieces, b: Pieces, crossed: Pieces) -> None:
        self.total = a + b - crossed - crossed.T
        np.fill_diagonal(self.total, 0.0)

    @classmethod
    def of(cls, first: Sequence[Pieces], second: Sequence[Pieces]) -> _Blocks:
        if len(first) != len(second) or len(first) < 2:
            raise ValueError(f"two clips or more on both sides are wanted, got {len(first)}, {len(second)}")
        return cls(_means(first, first), _means(second, second), _means(first, second))

    def distance(self, counts: Pieces) -> Pieces:
        """(draws,) for ``counts`` (draws, clips): how often each clip is drawn."""
        pairs = np.square(counts.sum(1)) - np.square(counts).sum(1)
        return np.asarray(((counts @ self.total) * counts).sum(1) / np.where(pairs > 0, pairs, np.nan))


def _means(rows: Sequence[Pieces], columns: Sequence[Pieces]) -> Pieces:
    out = np.empty((len(rows), len(columns)))
    for i, a in enumerate(rows):
        for j, b in enumerate(columns):
            x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
            out[i, j] = ((x @ y.T / x.shape[1] + 1.0) ** 3).mean()
    return out


def _summary(blocks: _Blocks, minus: _Blocks | None) -> dict[str, float]:
    count = len(blocks.total)
    random = np.random.default_rng(0)
    counts = random.multinomial(count, np.full(count, 1 / count), DRAWS).astype(np.float64)

    def value(drawn: Pieces) -> Pieces:
        return blocks.distance(drawn) - (0.0 if minus is None else minus.distance(drawn))

    low, high = np.nanpercentile(value(counts), LEVEL)
    return {"mean": float(value(np.ones((1, count)))[0]), "low": float(low), "high": float(high)}
