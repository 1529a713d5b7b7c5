"""Student's t distribution with any real number of degrees of freedom, and its non-central one for power.

The runtime has no scipy, so the few functions needed are here. The cumulative distribution goes through the
regularised incomplete beta function, by its continued fraction (modified Lentz; Press et al., Numerical
Recipes, 6.4); the quantile by Newton's steps kept in a bracket. Standard library and NumPy only.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

_TINY = 1e-300
_NORMAL = NormalDist()


def beta_fraction(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function I_x(a, b), 0 … 1; a, b > 0 and 0 <= x <= 1."""
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    if x > (a + 1.0) / (a + b + 2.0):  # the fraction converges fast below that
        return 1.0 - beta_fraction(b, a, 1.0 - x)
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    upper, lower = 1.0, 1.0 / _large(1.0 - (a + b) * x / (a + 1.0))
    total = lower
    for m in range(1, 1000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        change = 1.0
        for term in (even, odd):
            lower = 1.0 / _large(1.0 + term * lower)
            upper = _large(1.0 + term / upper)
            change = lower * upper
            total *= change
        if abs(change - 1.0) < 1e-15:
            break
    return math.exp(front) * total / a


def t_cdf(t: float, df: float) -> float:
    """P(T <= t) of Student's t with ``df`` > 0 degrees of freedom; infinite ``df`` is the normal one.

    Raises ValueError for a ``df`` that is not above 0.
    """
    _check(df)
    if math.isinf(df):
        return _NORMAL.cdf(t)
    if math.isinf(t):
        return float(t > 0)
    tail = 0.5 * beta_fraction(df / 2, 0.5, df / (df + t * t))
    return tail if t < 0 else 1.0 - tail


def t_quantile(p: float, df: float) -> float:
    """The t with P(T <= t) = ``p``, 0 < p < 1. Raises ValueError outside."""
    _check(df)
    if not 0.0 < p < 1.0:
        raise ValueError(f"a probability between 0 and 1 is wanted, got {p}")
    if math.isinf(df):
        return _NORMAL.inv_cdf(p)
    if p == 0.5:
        return 0.0
    if p > 0.5:
        return -t_quantile(1.0 - p, df)  # the lower tail is computed without cancellation
    high, low = 0.0, -1.0
    while t_cdf(low, df) > p:
        low *= 2.0
    middle = 0.5 * (low + high)
    for _ in range(200):
        excess = t_cdf(middle, df) - p
        low, high = (low, middle) if excess > 0 else (middle, high)
        step = middle - excess / _t_density(middle, df)  # Newton's, where it stays in the bracket
        following = step if low < step < high else 0.5 * (low + high)
        if abs(following - middle) <= 1e-14 * abs(middle):
            break
        middle = following
    return middle


def _t_density(t: float, df: float) -> float:
    front = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - 0.5 * math.log(df * math.pi)
    return math.exp(front - (df + 1) / 2 * math.log1p(t * t / df))


def noncentral_t_tail(critical: float, df: float, shift: float) -> float:
    """P(T > ``critical``) of non-central t with ``df`` degrees of freedom and non-centrality ``shift``.

    T is (Z + shift) / sqrt(U), U a chi-square over its df: the normal tail is averaged over U, by quadrature
    over log U. Exact to 1e-5, from 3 degrees of freedom on to 1e-8.
    """
    _check(df)
    if math.isinf(df):
        return _NORMAL.cdf(shift - critical)
    spread = math.sqrt(2.0 / df)
    logs = np.linspace(-14.0 * spread - 2.0 * spread**2, 10.0 * spread + 1.0, 4001)
    density = 0.5 * df * (logs - np.exp(logs))
    weight = np.exp(density - density.max())
    tails = np.array([_NORMAL.cdf(shift - critical * math.exp(0.5 * u)) for u in logs.tolist()])
    return float((weight * tails).sum() / weight.sum())


def _check(df: float) -> None:
    if not df > 0:
        raise ValueError(f"degrees of freedom above 0 are wanted, got {df}")


def _large(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
