"""Schedules, solvers and blending against solutions on paper."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from edgefoley.errors import UsageError
from edgefoley.sampling import (
    SOLVERS,
    adams_bashforth,
    blend,
    euler,
    evaluated,
    guided,
    heun,
    midpoint,
    noise,
    sigmas,
    triangle,
)
from edgefoley.timeline import windows


def solve(solver, velocity, x, levels):
    *_, (index, sigma, x) = solver(velocity, x, levels)
    assert (index, sigma) == (len(levels) - 1, levels[-1])
    return x


def test_plain_schedule_is_even_and_ends_exactly():
    assert sigmas(4) == (1.0, 0.75, 0.5, 0.25, 0.0)
    assert sigmas(1) == (1.0, 0.0)


def test_shift_moves_levels_towards_the_noise_and_keeps_the_ends():
    shifted = sigmas(10, shift=3.0)
    assert (shifted[0], shifted[-1]) == (1.0, 0.0)
    assert shifted[5] == pytest.approx(0.75)  # 3/2 / (1 + 2/2)
    assert all(a > b for a, b in zip(shifted[1:-1], sigmas(10)[1:-1], strict=True))


@pytest.mark.parametrize(("steps", "shift"), [(0, 1.0), (-3, 1.0), (4, 0.0), (4, -1.0), (4, math.nan)])
def test_senseless_schedules_are_refused(steps, shift):
    with pytest.raises(UsageError, match="must be"):
        sigmas(steps, shift)


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("steps", [1, 3, 7])
def test_constant_velocity_lands_on_the_data(name, steps):
    data, start = noise(1, (2, 5)), noise(2, (2, 5))
    end = solve(SOLVERS[name], lambda x, sigma: start - data, start, sigmas(steps))
    np.testing.assert_allclose(end, data, atol=1e-6)


@pytest.mark.parametrize(("solver", "order"), [(euler, 1), (heun, 2), (midpoint, 2), (adams_bashforth, 2)])
def test_order_of_convergence_on_a_linear_equation(solver, order):
    """dx/dsigma = a x + b sigma has a closed solution; halving the step divides the error by 2 ** order."""
    a, b = 1.5, -0.7

    def exact(x1):  # particular solution -b/a sigma - b/a^2, homogeneous c exp(a sigma)
        c = (x1 + b / a + b / a**2) * math.exp(-a)
        return c - b / a**2

    start = np.array([0.9], dtype=np.float64)  # in float64, so that rounding does not hide the order
    errors = [
        abs(solve(solver, lambda x, s: a * x + b * s, start, sigmas(steps))[0] - exact(start[0]))
        for steps in (20, 40, 80)
    ]
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.12)


def test_heun_equals_the_trapezoid_on_a_velocity_of_sigma_alone():
    end = solve(heun, lambda x, s: np.array([s], dtype=np.float32), np.zeros(1, np.float32), sigmas(5))
    np.testing.assert_allclose(end, -0.5, atol=1e-6)  # exact for a linear integrand


def test_adams_bashforth_is_exact_on_uneven_steps_once_it_has_two_velocities_of_a_line():
    levels = (0.8, 0.5, 0.4, 0.1, 0.0)
    end = solve(
        adams_bashforth, lambda x, s: np.array([s], dtype=np.float32), np.zeros(1, np.float32), levels
    )
    first = -0.3 * 0.8  # Euler; the rest of the integral of a line is exact
    np.testing.assert_allclose(end, first - 0.5 * 0.5**2, atol=1e-6)


def test_midpoint_asks_for_no_velocity_at_zero():
    asked: list[float] = []
    solve(midpoint, lambda x, s: asked.append(s) or x, np.ones(1, np.float32), sigmas(4))
    assert len(asked) == 8
    assert min(asked) > 0


def test_solvers_yield_every_step_and_leave_the_start_alone():
    start = np.ones(3, dtype=np.float32)
    for solver in SOLVERS.values():
        steps = list(solver(lambda x, s: x, start, sigmas(6)))
        assert [index for index, _, _ in steps] == [1, 2, 3, 4, 5, 6]
        assert [sigma for _, sigma, _ in steps] == list(sigmas(6)[1:])
        assert all(x.dtype == np.float32 for _, _, x in steps)
    np.testing.assert_array_equal(start, 1)


def test_guidance_extrapolates_from_the_unconditional():
    c, u = np.array([2.0], np.float32), np.array([1.0], np.float32)
    assert guided(c, u, 0.0) == u
    assert guided(c, u, 1.0) == c
    assert guided(c, u, 4.5) == np.float32(5.5)


def test_noise_is_the_same_everywhere():
    """Written down once: another machine or NumPy that gives other values breaks seeds that people noted."""
    written = [0.77415216, -0.58342969, 0.11058248, 0.70412165, 1.0869886, -1.1069297]
    np.testing.assert_allclose(noise(7, (6,)), written, rtol=1e-6)
    assert noise(7, (6,)).dtype == np.float32


def test_noise_is_normal_and_depends_on_the_seed():
    x = noise(0, (200_000,))
    assert abs(x.mean()) < 0.01
    assert x.std() == pytest.approx(1, abs=0.01)
    assert (x**4).mean() == pytest.approx(3, abs=0.1)
    assert abs(np.corrcoef(x, noise(1, (200_000,)))[0, 1]) < 0.01
    assert abs(np.corrcoef(x[0::2], x[1::2])[0, 1]) < 0.015  # the two values of one pair


def test_longer_noise_begins_with_the_shorter():
    np.testing.assert_array_equal(noise(3, (501, 4))[:33], noise(3, (33, 4)))
    assert noise(3, (3,)).shape == (3,)
    assert noise(3, (0, 4)).shape == (0, 4)


def test_negative_seed_is_refused():
    with pytest.raises(UsageError, match="seed"):
        noise(-1, (2,))


def test_triangle():
    np.testing.assert_allclose(triangle(4), [0.5, 1, 1, 0.5])
    np.testing.assert_allclose(triangle(5), [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3], rtol=1e-6)
    np.testing.assert_allclose(triangle(1), [1])


@pytest.mark.parametrize("count", [1, 24, 25, 26, 60, 407])
def test_blended_windows_of_a_pointwise_velocity_equal_the_whole(count):
    """Where the velocity at a position does not depend on its neighbours, windows must not be audible at
    all."""
    spans = windows(count, 25, 5)
    x = noise(count, (1, 3, count))

    def velocity(part, sigma):
        return np.float32(sigma) * np.tanh(part) - part

    def windowed(x, sigma):
        return blend([velocity(x[:, :, a:b], sigma) for a, b in spans], spans, count)

    whole = solve(heun, velocity, x, sigmas(5))
    np.testing.assert_allclose(solve(heun, windowed, x, sigmas(5)), whole, atol=2e-6)


def test_blend_crosses_over_gradually_and_keeps_the_middle():
    spans = [(0, 10), (6, 16)]
    out = blend([np.zeros((1, 10), np.float32), np.ones((1, 10), np.float32)], spans, 16)[0]
    np.testing.assert_array_equal(out[:6], 0)
    np.testing.assert_array_equal(out[10:], 1)
    assert (np.diff(out[5:11]) > 0).all()
    np.testing.assert_allclose(out[6:10] + out[6:10][::-1], 1, atol=1e-6)


def test_blend_refuses_a_gap():
    with pytest.raises(ValueError, match="do not cover"):
        blend([np.ones(3, np.float32), np.ones(3, np.float32)], [(0, 3), (4, 7)], 7)


@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("euler", (1.0, 0.5)),
        ("heun", (1.0, 0.5, 0.5, 0.0)),
        ("midpoint", (1.0, 0.75, 0.5, 0.25)),
        ("adams-bashforth", (1.0, 0.5)),
    ],
)
def test_evaluated_levels_are_those_that_the_solver_asks_for(name, levels):
    asked = []
    for _ in SOLVERS[name](lambda x, sigma: asked.append(sigma) or x, np.ones(3, np.float32), sigmas(2)):
        pass
    assert evaluated(SOLVERS[name], sigmas(2)) == tuple(asked) == levels
