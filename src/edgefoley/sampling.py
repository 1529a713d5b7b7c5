"""Schedules and solvers of flow matching, as pure functions over (velocity, x, sigmas).

Convention (Lipman et al., "Flow Matching for Generative Modeling", ICLR 2023,
https://arxiv.org/abs/2210.02747, on the straight path of Liu et al., "Flow Straight and Fast", ICLR 2023):
x_sigma = sigma noise + (1 - sigma) data, sigma from 1 (noise) to 0 (data), and the network's velocity is v =
dx/dsigma = noise - data. A solver therefore walks with negative steps. There is no scheduler object: where a
solver stands is in its arguments.

Layer 1: numpy only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefoley.errors import UsageError
from edgefoley.types import FloatArray

Velocity = Callable[[FloatArray, float], FloatArray]
Solver = Callable[[Velocity, FloatArray, Sequence[float]], Iterator[tuple[int, float, FloatArray]]]


def shifted(level: Any, shift: float) -> Any:
    """Noise levels s (a number or any array) become shift s / (1 + (shift - 1) s), the time shift of Esser et
    al., "Scaling Rectified Flow Transformers", ICML 2024, https://arxiv.org/abs/2403.03206, eq. 23."""
    return shift * level / (1 + (shift - 1) * level)


def sigmas(num_steps: int, shift: float = 1.0) -> tuple[float, ...]:
    """The ``num_steps + 1`` noise levels from 1 to 0; ``shift`` > 1 spends more steps near the noise.

    Evenly spaced ones are ``shifted``. Raises UsageError for num_steps < 1 or shift <= 0.
    """
    if num_steps < 1:
        raise UsageError(f"steps must be at least 1, got {num_steps}.")
    if not shift > 0:
        raise UsageError(f"the schedule's shift must be above 0, got {shift}.")
    even = (1 - i / num_steps for i in range(num_steps + 1))
    return tuple(shifted(s, shift) for s in even)


def euler(
    velocity: Velocity, x: FloatArray, sigmas: Sequence[float]
) -> Iterator[tuple[int, float, FloatArray]]:
    """First order, one evaluation per step. Yields (index from 1, sigma reached, x) after every step."""
    for index, (here, there) in enumerate(pairwise(sigmas), start=1):
        x = x + np.float32(there - here) * velocity(x, here)
        yield index, there, x


def heun(
    velocity: Velocity, x: FloatArray, sigmas: Sequence[float]
) -> Iterator[tuple[int, float, FloatArray]]:
    """Second order (trapezoid), two evaluations per step, the last one at sigma 0. Yields as ``euler``
    does."""
    for index, (here, there) in enumerate(pairwise(sigmas), start=1):
        step = np.float32(there - here)
        first = velocity(x, here)
        second = velocity(x + step * first, there)
        x = x + step * np.float32(0.5) * (first + second)
        yield index, there, x


def midpoint(
    velocity: Velocity, x: FloatArray, sigmas: Sequence[float]
) -> Iterator[tuple[int, float, FloatArray]]:
    """Second order, two evaluations per step, never one at sigma 0. Yields as ``euler`` does."""
    for index, (here, there) in enumerate(pairwise(sigmas), start=1):
        step = np.float32(there - here)
        middle = x + step * np.float32(0.5) * velocity(x, here)
        x = x + step * velocity(middle, (here + there) / 2)
        yield index, there, x


def adams_bashforth(
    velocity: Velocity, x: FloatArray, sigmas: Sequence[float]
) -> Iterator[tuple[int, float, FloatArray]]:
    """Second order with one evaluation per step: the velocity goes on changing as it did over the step before
    (Bashforth and Adams 1883, for uneven steps). The first step is Euler's. Yields as ``euler`` does."""
    before: FloatArray | None = None
    last = 1.0
    for index, (here, there) in enumerate(pairwise(sigmas), start=1):
        step, now = there - here, velocity(x, here)
        mean = now if before is None else now + np.float32(step / (2 * last)) * (now - before)
        x = x + np.float32(step) * mean
        before, last = now, step
        yield index, there, x


SOLVERS: dict[str, Solver] = {
    "euler": euler,
    "heun": heun,
    "midpoint": midpoint,
    "adams-bashforth": adams_bashforth,
}


def evaluated(solver: Solver, sigmas: Sequence[float]) -> tuple[float, ...]:
    """The noise levels at which ``solver`` asks for the velocity on the way through ``sigmas``, in order."""
    asked: list[float] = []

    def still(x: FloatArray, sigma: float) -> FloatArray:
        asked.append(sigma)
        return np.zeros_like(x)

    for _ in solver(still, np.zeros(1, dtype=np.float32), sigmas):
        pass
    return tuple(asked)


def guided(conditional: FloatArray, unconditional: FloatArray, scale: float) -> FloatArray:
    """Classifier-free guidance (Ho and Salimans, https://arxiv.org/abs/2207.12598): v_u + scale (v_c -
    v_u)."""
    return unconditional + np.float32(scale) * (conditional - unconditional)


def noise(seed: int, shape: Sequence[int]) -> FloatArray:
    """Standard normal float32, the same for a seed (0 <= seed) with every NumPy version and on every machine.

    Made from the raw integers of PCG64, whose stream NumPy guarantees (that of ``standard_normal`` it does
    not), by the transform of Box and Muller in float64. A longer array begins with the values of a shorter
    one.
    """
    if seed < 0:
        raise UsageError(f"the seed must be 0 or above, got {seed}.")
    count = int(np.prod(shape, dtype=np.int64))
    raw = np.random.PCG64(seed).random_raw(2 * ((count + 1) // 2))
    uniform = ((raw >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53  # strictly between 0 and 1
    radius = np.sqrt(-2.0 * np.log(uniform[0::2]))
    angle = 2.0 * np.pi * uniform[1::2]
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    return pairs.reshape(-1)[:count].astype(np.float32).reshape(tuple(shape))


def triangle(length: int) -> FloatArray:
    """Weights (length,) that rise from the edges to the middle in even steps, all above 0, at most 1."""
    rise = np.arange(1, length + 1, dtype=np.float32)
    half = (length + 1) // 2
    return np.asarray(np.minimum(rise, rise[::-1]) / half, dtype=np.float32)


def blend(
    parts: Sequence[npt.NDArray[np.float32]], spans: Sequence[tuple[int, int]], count: int
) -> FloatArray:
    """One array (..., count) from ``parts`` (..., stop - start) over ``spans`` [start, stop) that cover 0 …
    count.

    Where spans overlap, the parts are averaged with triangular weights, so neighbours take over from each
    other gradually (as in Bar-Tal et al., "MultiDiffusion", ICML 2023, https://arxiv.org/abs/2302.08113).
    Raises ValueError if the spans leave a gap.
    """
    if len(spans) == 1 and spans[0] == (0, count):
        return parts[0]
    total = np.zeros((*parts[0].shape[:-1], count), dtype=np.float32)
    weight = np.zeros(count, dtype=np.float32)
    for part, (start, stop) in zip(parts, spans, strict=True):
        here = triangle(stop - start)
        total[..., start:stop] += part * here
        weight[start:stop] += here
    if not weight.all():
        raise ValueError(f"the spans {list(spans)} do not cover 0 … {count}")
    total /= weight
    return total
