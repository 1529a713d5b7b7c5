"""Liquids: populations of singing bubbles, and the noise of broken surfaces.

A bubble of radius r sings at f = sqrt(3 gamma p / rho) / (2 pi r), about 3.26 m/s / r (Minnaert 1933), with
damping 0.13 / r + 0.0072 r^-3/2 per second; one that forms near the surface rises in pitch while it rises
(van den Doel, "Physically based models for liquid sounds", ACM TAP 2, 2005). Pouring adds the air column
above the liquid: a closed pipe, whose quarter-wave resonance c / 4 (h + 0.6 R) climbs while the vessel fills.
Left out: resonances of the walls of a given vessel.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.random import Generator

from edgefoley.train.sounds.synthesis.noise import (
    band,
    drift,
    instants,
    moving_band,
    noise,
    pick,
    power_law,
)
from edgefoley.train.sounds.synthesis.sound import RATE, Array, add_at, clock, count, draw, scatter

POLYTROPIC, PRESSURE, DENSITY, SOUND_SPEED = 1.4, 101_325.0, 998.0, 343.0
SMALLEST_BUBBLE_M: Final = 1.5e-4  # sings at 22 kHz


def minnaert(radius: float) -> float:
    """Frequency in Hz of a bubble of ``radius`` metres in water at the surface."""
    return float(np.sqrt(3 * POLYTROPIC * PRESSURE / DENSITY) / (2 * np.pi * radius))


def bubble_rate(radius: float) -> float:
    """Decay of its amplitude in 1/s (thermal, viscous and radiation losses; van den Doel 2005)."""
    return 0.13 / radius + 0.0072 * radius**-1.5


def bubble(radius: float, rise: float = 0.0) -> Array:
    """One bubble from its birth until it has fallen by 50 dB, peak about 1. ``rise`` 0..1: how fast its pitch
    climbs, f (1 + rise * rate * t)."""
    rate = bubble_rate(radius)
    t = clock(int(5.8 / rate * RATE) + 2)
    phase = 2 * np.pi * minnaert(radius) * (t + 0.5 * rise * rate * t**2)
    return np.asarray(np.sin(phase) * np.exp(-rate * t) * (1 - np.exp(-t * minnaert(radius) * 3)))


def bubble_cloud(
    rng: Generator, rate: Array, radii: tuple[float, float], exponent: float = 2.0, rise: float = 0.1
) -> Array:
    """Bubbles born at ``rate`` (samples,) per second with radii (m) by a power law of ``exponent``; loudness
    ~ radius; ``rise``: greatest, few bubbles rise at all."""
    samples = len(rate)
    # Even over log radius, drawn by the law: the few large ones that dominate are not all of one pitch.
    bank = np.exp(rng.uniform(np.log(max(radii[0], SMALLEST_BUBBLE_M)), np.log(radii[1]), 48))
    share = bank ** (1 - exponent) / np.sum(bank ** (1 - exponent))
    waves = [bubble(r, rise * rng.uniform() ** 3) for r in bank.tolist()]
    grains = np.zeros((len(waves), max(len(w) for w in waves)))
    for row, wave in zip(grains, waves, strict=True):
        row[: len(wave)] = wave
    starts = instants(rng, rate, samples)
    which = rng.choice(len(bank), len(starts), p=share)
    out = np.zeros(samples)
    depth = power_law(rng, len(starts), 1.5, 0.1, 1.0)
    scatter(out, grains, which, starts, bank[which] / radii[1] * depth)
    return out


def drip(body_rng: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """A drop falls into water at sample 0: a faint slap and, 10 to 30 ms later, the bubble that it leaves,
    its pitch rising; sometimes a second, smaller one (Phillips, Agarwal & Jordan, Sci. Rep. 8, 2018). The
    bubble comes close enough that onset is the slap."""
    samples = count(seconds)
    out = np.zeros(samples)
    radius = draw(body_rng, 1.1e-3, 4.5e-3) * draw(rng, 0.85, 1.2)
    t = clock(samples)
    slap = noise(rng, samples, [(500, -12), (3000, 0), (9000, -6), (18_000, -20)])
    out += draw(rng, 0.05, 0.14) * (0.4 + strength) * slap * np.exp(-t / 0.0012) * (1 - np.exp(-t * 8000))
    at = int(rng.uniform(0.004, 0.012) * RATE)
    add_at(out, bubble(radius, rng.uniform(0.03, 0.14) * (0.5 + strength)), at)
    for _ in range(int(rng.integers(0, 2 + round(2 * strength)))):
        smaller = radius * draw(rng, 0.25, 0.7)
        add_at(
            out,
            bubble(smaller, rng.uniform(0.0, 0.2)),
            at + int(rng.exponential(0.05) * RATE),
            draw(rng, 0.1, 0.5),
        )
    return out


def splash(rng: Generator, strength: float, seconds: float, size: float) -> Array:
    """Something falls into water at sample 0: slap, spray, and the cavity's bubbles. size 0 (a pebble) to 1.5
    (a person)."""
    samples = count(seconds)
    t = clock(samples)
    low = 900 / (1 + 3 * size)
    slap = noise(rng, samples, [(low / 4, -16), (low, 0), (6 * low, -6), (14_000, -18 + 10 * strength)])
    slap *= np.exp(-t / (0.012 + 0.03 * size)) * (1 - np.exp(-t * 4000))
    spray = noise(rng, samples, [(400, -20), (1500, -4), (5000, 0), (12_000, -6), (18_000, -18)])
    late = 0.07 + 0.16 * size
    fall = (t / late) * np.exp(1 - t / late) + 0.5 * np.exp(-(((t - 3 * late) / (1.5 * late)) ** 2))
    spray *= fall * drift(rng, samples, 45, 0.6)
    rate = (120 + 500 * size) * (0.3 + strength) * np.exp(-t / (2.2 * late))
    rate = np.asarray(rate * (1 - np.exp(-t / late)), dtype=np.float64)
    cloud = bubble_cloud(rng, rate, (6e-4, 2.5e-3 + 7e-3 * size), 1.6, 0.25)
    cloud /= np.abs(cloud).max() + 1e-12
    return slap + 0.18 * (0.4 + strength) * spray + 0.9 * cloud


def stream(rng: Generator, samples: int, coarse: float, strength: float) -> Array:
    """Running water, (samples,) of mean square about 1: bubbles over a hiss. coarse 0 (a thin tap) to 1 (a
    torrent, whose hiss and rumble cover the bubbles)."""
    flow = drift(rng, samples, 3, 0.25)
    top = 1.5e-3 + 6e-3 * coarse
    cloud = bubble_cloud(rng, (350 + 900 * coarse) * (0.4 + strength) * flow, (3e-4, top), 2.2, 0.1)
    cloud /= np.sqrt(np.mean(cloud**2)) + 1e-12
    bright = -14 + 8 * strength
    hiss = noise(rng, samples, [(60, -18 + 10 * coarse), (400, -4), (1500, 0), (5000, -4), (14_000, bright)])
    hiss *= drift(rng, samples, 12, 0.15) * flow
    return cloud * (1 - 0.6 * coarse) + hiss * (0.18 + 0.8 * coarse)


def fill_pitch(height: float, radius: float, filled: Array) -> Array:
    """Resonance in Hz of the air above the liquid: ``height`` and ``radius`` of the vessel in metres, filled
    0..1 of its height."""
    return SOUND_SPEED / (4 * (height * (1 - filled) + 0.6 * radius))


def pour(body_rng: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """Pouring into a vessel that fills over the sound: bubbles, and noise at the rising pitch of the air."""
    samples = count(seconds)
    height, radius = draw(body_rng, 0.08, 0.3), draw(body_rng, 0.025, 0.06)
    filled = np.linspace(rng.uniform(0.0, 0.3), rng.uniform(0.7, 0.95), samples)
    pitch = fill_pitch(height, radius, filled)
    flow = drift(rng, samples, 4, 0.22) * (0.5 + 0.5 * strength)
    column = moving_band(rng, pitch, 0.16) + 0.4 * moving_band(rng, 3 * pitch, 0.13)
    cloud = bubble_cloud(rng, draw(body_rng, 250, 700) * flow, (5e-4, 5.5e-3), 1.8, 0.12)
    cloud /= np.sqrt(np.mean(cloud**2)) + 1e-12
    hiss = noise(rng, samples, [(300, -22), (1500, -6), (5000, 0), (12_000, -6), (18_000, -20)])
    deep = 1 - 0.5 * filled  # the fall shortens
    return flow * (0.8 * column + (0.2 + 0.35 * strength) * hiss * deep) + 0.8 * cloud * np.sqrt(flow)


def simmer(rng: Generator, samples: int, strength: float, thick: float = 0.0) -> Array:
    """Boiling or bubbling, (samples,): large bubbles that reach the surface, in bursts; from a simmer to a
    rolling boil by ``strength``. thick 0 (water) to 1 (mud: few, large, slow)."""
    surge = drift(rng, samples, 5, 0.7)
    radii = (2.5e-3 * (1 + thick), 2e-2 * (1 + thick))
    out = bubble_cloud(rng, (25 + 260 * strength) * (1 - 0.75 * thick) * surge, radii, 1.7, 0.35)
    fine = bubble_cloud(rng, (200 + 700 * strength) * (1 - thick) * surge, (6e-4, 2.5e-3), 2.2, 0.1)
    out /= np.sqrt(np.mean(out**2)) + 1e-12
    fine /= np.sqrt(np.mean(fine**2)) + 1e-12
    steam = noise(rng, samples, [(60, 0), (200, 0), (700, -8), (3000, -22), (14_000, -44)])
    return out + 0.2 * fine + (0.25 + 0.4 * strength) * steam * drift(rng, samples, 8, 0.3)


def rain(rng: Generator, samples: int, strength: float, surface: str = "ground") -> Array:
    """Rain, (samples,): near drops over the wash of distant ones. surface: "ground", "water", or "pane" (a
    window or roof, which rings). Heavier rain is denser, and its large drops are duller."""
    length = 1200 if surface == "pane" else 420
    t = clock(length)
    grains = np.empty((48, length))
    for row in grains:
        centre = draw(rng, 500, 2600) if surface == "pane" else draw(rng, 1500, 9000)
        tap = noise(
            rng, length, [(centre / 6, -24), (centre, 0), (min(centre * 2.5, 16_000), -9), (20_000, -26)]
        )
        row[:] = tap * np.exp(-t / draw(rng, 0.0006, 0.0025)) * (1 - np.exp(-t * 15_000))
        if surface == "pane":
            tone = draw(rng, 180, 900)
            row += 1.6 * np.sin(2 * np.pi * tone * t) * np.exp(-t / draw(rng, 0.003, 0.009))
    near = instants(rng, (60 + 900 * strength) * drift(rng, samples, 2, 0.2), samples)
    out = np.zeros(samples)
    scatter(out, grains, pick(rng, len(near), 48), near, power_law(rng, len(near), 2.0, 0.05, 1.0))
    out /= np.sqrt(np.mean(out**2)) + 1e-12
    if surface == "water":
        drops = bubble_cloud(rng, np.full(samples, 60 + 500 * strength), (3e-4, 1.2e-3), 2.0, 0.05)
        out += 0.6 * drops / (np.sqrt(np.mean(drops**2)) + 1e-12)
    dull = (-14.0 if surface == "pane" else 0.0) - 8 * strength
    low = -16 + 16 * strength
    points = [
        (80, low),
        (500, low / 2 + 2),
        (2000, 0),
        (6000, dull),
        (12_000, -5 + dull),
        (20_000, -16 + dull),
    ]
    wash = noise(rng, samples, points) * drift(rng, samples, 1.5, 0.12)
    return out + (0.5 + 1.6 * strength) * wash


def surf(rng: Generator, samples: int, strength: float) -> Array:
    """Waves on a beach, (samples,): each rises, breaks and draws back, one every 5 to 9 s; the hiss brightens
    with the break and its low part dies first."""
    t = clock(samples)
    level = np.full(samples, 0.12)
    start = rng.uniform(-3.0, 1.0)
    while start < t[-1] + 1:
        rise, fall, height = rng.uniform(0.9, 1.8), rng.uniform(1.5, 3.5), draw(rng, 0.5, 1.2)
        since = t - start
        level += height * np.where(
            since < rise, np.exp((since - rise) * 3 / rise), np.exp(-(since - rise) / fall)
        )
        start += rng.uniform(4.5, 8.5)
    hiss = noise(rng, samples, [(200, -16), (1000, -4), (3500, 0), (9000, -6), (18_000, -20)])
    roar = band(rng, samples, 220, 2.5)
    fizz = bubble_cloud(rng, 500 * np.minimum(level, 1), (3e-4, 1.5e-3), 2.0, 0.0)
    fizz /= np.sqrt(np.mean(fizz**2)) + 1e-12
    wobble = drift(rng, samples, 15, 0.2)
    return 0.6 * level * wobble * hiss + (0.7 + 0.9 * strength) * level**2 * roar + 0.15 * level * fizz
