"""Machines that turn: engines, rotors, motors under load, hum, hammers that a machine swings.

An engine is a train of pressure pulses at rpm / 60 * cylinders / 2 (four strokes), every cylinder a little
different, through the resonances of the exhaust; load lengthens the pulses' treble. A rotor gives harmonics
of the blade-pass rate and noise modulated by it. Mains machines hum at twice the mains' rate. Sources:
Farnell, "Designing Sound" (2010); Baldan, Lachambre, Delle Monache & Boussard, "Physically informed car
engine sound synthesis for virtual and augmented environments" (SIVE 2015). Left out: tyres, gears.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from edgefoley.train.sounds.synthesis.modal import Body, hit
from edgefoley.train.sounds.synthesis.noise import Points, band, drift, filtered, moving_band, noise
from edgefoley.train.sounds.synthesis.sound import RATE, Array, add_at, clock, count, draw


def harmonics(phase: Array, levels: Sequence[float] | Array, rng: Generator) -> Array:
    """Sum of sines at multiples of ``phase`` (samples,) in radians with amplitudes ``levels``, random phases;
    multiples that pass 20 kHz are left out."""
    out = np.zeros(len(phase))
    step = float(np.max(np.diff(phase))) if len(phase) > 1 else 0.0
    for n, level in enumerate(levels, start=1):
        if n * step < 2 * np.pi * 20_000 / RATE:
            out += level * np.sin(n * phase + rng.uniform(0, 2 * np.pi))
    return out


def phase_of(frequency: Array) -> Array:
    """Phase in radians, (samples,), of a tone of ``frequency`` (samples,) Hz."""
    return np.asarray(2 * np.pi * np.cumsum(frequency) / RATE)


def engine(
    body_rng: Generator, rng: Generator, rpm: Array, cylinders: int, load: Array, muffled: float
) -> Array:
    """A four-stroke engine, (samples,): ``rpm`` (samples,), ``load`` (samples,) 0..1, ``muffled`` 0 (open
    pipe) to 1 (a limousine)."""
    samples = len(rpm)
    cycle = np.cumsum(rpm / 120.0) / RATE  # one cycle is two turns
    unequal = np.exp(0.18 * body_rng.standard_normal(cylinders))
    offset = 0.03 * body_rng.standard_normal(cylinders) / cylinders
    fires = np.zeros(samples)
    every = int(np.ceil(cycle[-1])) + 1
    for j in range(cylinders):
        marks = np.arange(every) + (j + 0.5) / cylinders + offset[j]
        marks += 0.012 / cylinders * rng.standard_normal(every)  # no two burns are alike
        places = np.searchsorted(cycle, marks[marks < cycle[-1]])
        np.add.at(
            fires,
            np.minimum(places, samples - 1),
            unequal[j] * np.exp(0.1 * rng.standard_normal(len(places))),
        )
    t = clock(2400)
    width = draw(body_rng, 0.0012, 0.0028) * (0.3 + 0.7 * muffled)
    pop = np.exp(-t / width) * (1 - np.exp(-t / (0.15 * width)))
    for _ in range(4):  # pipe and body
        f = draw(body_rng, 70, 2600 - 1700 * muffled)
        pop += (
            draw(body_rng, 0.1, 0.35) * np.sin(2 * np.pi * f * t) * np.exp(-t / draw(body_rng, 0.004, 0.014))
        )
    from scipy.signal import oaconvolve

    out = np.asarray(oaconvolve(fires * (0.5 + 0.5 * load), pop)[:samples])
    out /= np.sqrt(np.mean(out**2)) + 1e-12
    gate = np.asarray(oaconvolve(fires, np.exp(-t / 0.006))[:samples])
    flow = noise(rng, samples, [(80, -10), (400, 0), (2500, -6), (9000, -22)]) * (
        0.3 + gate / (gate.max() + 1e-9)
    )
    clatter = noise(rng, samples, [(800, -16), (2500, 0), (7000, -6), (16_000, -20)])
    clatter *= gate / (gate.max() + 1e-9) * drift(rng, samples, 30, 0.2)
    out += (0.2 + 0.5 * load) * flow + (0.75 - 0.55 * muffled) * clatter
    cut: Points = [
        (60, 0),
        (250, -2 * muffled),
        (1500, -8 * muffled),
        (6000, -6 - 16 * muffled),
        (18_000, -40),
    ]
    return filtered(out, cut) * drift(rng, samples, 6, 0.06)


def rotor(rng: Generator, rate: Array, levels: Sequence[float], air: Points, depth: float) -> Array:
    """Blades that pass at ``rate`` (samples,) Hz: their harmonics (``levels``) and noise of spectrum ``air``
    whose level swings with them by ``depth`` 0..1."""
    samples = len(rate)
    phase = phase_of(rate * drift(rng, samples, 2, 0.004))
    swing = 0.5 + 0.5 * np.cos(phase)
    flow = noise(rng, samples, air) * (1 - depth + depth * swing**2) * drift(rng, samples, 10, 0.1)
    return harmonics(phase, levels, rng) * drift(rng, samples, 4, 0.08) + flow


def chopper(body_rng: Generator, rng: Generator, samples: int, strength: float) -> Array:
    """A helicopter: a slap at each passing blade, broad rotor noise between, and the turbine's whine."""
    rate = np.full(samples, draw(body_rng, 9, 19)) * drift(rng, samples, 0.4, 0.02)
    phase = phase_of(rate)
    since = (phase / (2 * np.pi)) % 1.0
    slap = np.exp(-since * 9) * (1 - np.exp(-since * 90))
    low = noise(rng, samples, [(25, -8), (60, 0), (250, -5), (1200, -16), (6000, -36)])
    broad = noise(rng, samples, [(100, -12), (500, 0), (2000, -4), (7000, -16), (16_000, -34)])
    whine = harmonics(phase_of(np.full(samples, draw(body_rng, 900, 2600))), [1.0, 0.4, 0.2], rng)
    out = (0.25 + 2.2 * slap) * low + (0.12 + (0.4 + 0.6 * strength) * slap) * broad
    return out * drift(rng, samples, 3, 0.12) + 0.04 * whine


def motor(body_rng: Generator, rng: Generator, pitch: Array, load: Array, brush: float) -> Array:
    """An electric motor with its gears, (samples,): ``pitch`` (samples,) Hz of the whine, which sinks by a
    fifth under ``load`` (samples,) 0..1; ``brush`` 0..1: noise of brushes and teeth."""
    samples = len(pitch)
    phase = phase_of(pitch * (1 - 0.2 * load) * drift(rng, samples, 8, 0.01))
    levels = np.exp(0.5 * body_rng.standard_normal(16)) / np.arange(1, 17) ** 0.9
    tone = harmonics(phase, levels, rng) * (1 + 0.3 * np.sin(phase / draw(body_rng, 5, 11)))
    centre = np.clip(4.5 * pitch, 800, 9000)
    rough = moving_band(rng, centre, 1.0, 3.0) * (0.6 + 0.4 * np.sin(phase))
    return (tone / 2 + brush * (0.5 + load) * rough) * (0.6 + 0.4 * load) * drift(rng, samples, 12, 0.08)


def hum(body_rng: Generator, rng: Generator, samples: int, strength: float) -> Array:
    """A transformer, refrigerator or computer: harmonics of 100 or 120 Hz, a fan's noise, a faint whine."""
    mains = float(body_rng.choice([100.0, 120.0]))
    levels = np.exp(0.7 * body_rng.standard_normal(14)) / np.arange(1, 15) ** (1.7 - 0.7 * strength)
    out = harmonics(phase_of(np.full(samples, mains)), levels, rng) * drift(rng, samples, 1, 0.06)
    sub = harmonics(phase_of(np.full(samples, mains / 2)), [0.5, 0.0, 0.2], rng)
    air = noise(rng, samples, [(60, -8), (200, 0), (900, -8), (4000, -20), (14_000, -40)])
    whine = harmonics(phase_of(np.full(samples, draw(body_rng, 1500, 7000))), [1.0], rng)
    flow = draw(body_rng, 0.1, 0.7) * (0.5 + strength)
    return out + body_rng.uniform(0, 0.8) * sub + flow * air + 0.02 * whine * drift(rng, samples, 2, 0.3)


def hammered(
    rng: Generator, targets: Sequence[Body], period: Array, strength: float, softness: float
) -> Array:
    """A machine hits the targets together every ``period`` (samples,) seconds, each time a little
    differently."""
    samples = len(period)
    out = np.zeros(samples)
    variants = []
    for _ in range(6):
        once = np.zeros(count(min(0.35, samples / RATE)))
        for target in targets:
            blow = hit(rng, target, strength, len(once) / RATE, softness * draw(rng, 0.8, 1.25))
            once += blow / (np.abs(blow).max() + 1e-12)
        variants.append(once)
    at = 0.0
    while at < samples:
        add_at(out, variants[int(rng.integers(6))], int(at), draw(rng, 0.75, 1.1))
        at += float(period[int(at)]) * RATE * draw(rng, 0.96, 1.04)
    return out


def turbine(body_rng: Generator, rng: Generator, samples: int, strength: float, whine: float) -> Array:
    """A jet engine or rocket, (samples,): broad roar with deep rumble, ``whine`` 0..1 of the fan."""
    pitch = draw(body_rng, 1800, 3600) * drift(rng, samples, 0.5, 0.02)
    roar = noise(
        rng, samples, [(25, -6), (90, 0), (400, -4), (1500, -9), (5000, -20 + 4 * strength), (16_000, -40)]
    )
    tone = harmonics(phase_of(pitch), [1.0, 0.5, 0.15], rng) + 0.6 * moving_band(rng, pitch, 0.05)
    crackling = np.abs(band(rng, samples, 120, 2.0)) ** 2 * drift(rng, samples, 20, 0.3)
    return roar * drift(rng, samples, 4, 0.12) * (1 + 0.25 * crackling) + 0.25 * whine * tone
