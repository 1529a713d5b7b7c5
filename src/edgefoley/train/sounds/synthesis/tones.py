"""Things with a pitch: bells, gongs, bowls, strings, drums, cymbals, horns, whistles, electronic signals.

Ringing bodies come from ``modal``; what they lack is added here: a gong's slow bloom of the upper modes, the
hum of a rubbed bowl, a string's pluck comb. Horns are harmonics that brighten with the level. Alarm patterns
are of the usual kinds (steady, beeping, two-tone, sweeping) and follow no maker's product.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from edgefoley.train.sounds.synthesis.modal import MATERIALS, Body, body, decay_rates, hit, ratios, ring
from edgefoley.train.sounds.synthesis.noise import drift, moving_band, noise
from edgefoley.train.sounds.synthesis.rotation import harmonics, phase_of
from edgefoley.train.sounds.synthesis.sound import Array, clock, count, draw
from edgefoley.train.sounds.synthesis.steps import thump


def bell(body_rng: Generator, rng: Generator, strength: float, seconds: float, pitch: float) -> Array:
    """A bell of prime ``pitch`` Hz struck at sample 0; large bells ring long (their loss is smaller)."""
    target = body(body_rng, "bell", "metal", pitch, 14, draw(body_rng, 0.35, 0.8) * (pitch / 900) ** 0.35)
    return hit(rng, target, strength, seconds, draw(rng, 1.5, 3.0) * (900 / pitch) ** 0.5)


def bowl(body_rng: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """A singing bowl struck with a felt mallet at sample 0: few modes, long, each pair beats."""
    pitch = draw(body_rng, 140, 420)
    target = body(body_rng, "bowl", "metal", pitch, 6, draw(body_rng, 0.15, 0.35))
    return hit(rng, target, strength, seconds, 9.0)


def gong(body_rng: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """A gong or tam-tam at sample 0: the low modes speak at once, the energy then climbs to the upper modes
    over 0.1 to 0.4 s, the more the harder it is struck (Legge & Fletcher, JASA 86, 1989)."""
    samples = count(seconds)
    pitch = draw(body_rng, 60, 150)
    low = body(body_rng, "membrane", "metal", pitch, 14, 0.5)
    out = hit(rng, low, strength, seconds, 25.0)
    out /= np.abs(out).max()
    f = np.sort(pitch * 2 * np.exp(body_rng.uniform(0, np.log(50), 90)))
    t = clock(samples)
    rates = decay_rates(MATERIALS["metal"], f) * 0.35
    weights = np.exp(0.5 * body_rng.standard_normal(90)) * (f / f[0]) ** -(1.1 - 0.6 * strength)
    for third in range(3):
        part = slice(third * 30, third * 30 + 30)
        shimmer = ring(f[part], rates[part], weights[part], samples)
        grow = 1 - np.exp(-t / (0.05 + 0.1 * third * draw(rng, 0.7, 1.4)))
        out += (0.2 + 0.7 * strength) * grow * shimmer / (np.abs(shimmer).max() + 1e-12)
    return out


def pluck(body_rng: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """A plucked string at sample 0: partials of a stiff string, weakened where the finger is a node."""
    pitch = draw(body_rng, 110, 700)
    f = pitch * ratios("string", 40)
    f = f[f < 18_000]
    n = np.arange(1, len(f) + 1)
    place = draw(rng, 0.1, 0.4)
    weights = np.abs(np.sin(np.pi * n * place)) / n ** (1.9 - 0.9 * strength)
    rates = 1.2 + 0.35 * n + 2e-7 * (2 * np.pi * f) ** 1.5
    string = ring(f, rates, weights, count(seconds))
    wood = body(body_rng, "plate", "wood", draw(body_rng, 95, 180), 16, 2.0)
    knock = hit(rng, wood, strength, min(0.3, seconds), 4.0)
    string *= 1 - np.exp(-clock(len(string)) * 1500)
    string[: len(knock)] += 0.15 * np.abs(string).max() * knock / np.abs(knock).max()
    return string


def drum(
    body_rng: Generator, rng: Generator, strength: float, seconds: float, pitch: float, snares: float = 0.0
) -> Array:
    """A drum at sample 0: a membrane whose pitch sinks as the hit's tension relaxes, and ``snares`` 0..1."""
    samples = count(seconds)
    skin = body(body_rng, "membrane", "rubber", pitch, 22, 0.12 * (pitch / 150) ** 0.2)
    low = Body(skin.frequencies, 9 + 0.055 * skin.frequencies, skin.weights, skin.material)
    out = hit(rng, low, strength, seconds, draw(rng, 0.25, 0.6))
    out = out / np.abs(out).max() + 0.8 * thump(rng, samples, pitch * 0.9, 0.09)
    if snares > 0:
        t = clock(samples)
        wires = noise(rng, samples, [(300, -20), (1500, -4), (4500, 0), (10_000, -4), (18_000, -16)])
        wires *= (
            np.exp(-t / (0.05 + 0.07 * strength)) * (1 - np.exp(-t * 1500)) * drift(rng, samples, 120, 0.3)
        )
        out += 0.3 * snares * wires
    return out


def cymbal(body_rng: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """A cymbal at sample 0: a dense field of modes, the highest die first; a hard hit lights the top."""
    samples = count(seconds)
    f = np.sort(draw(body_rng, 250, 500) * np.exp(body_rng.uniform(0, np.log(36), 150)))
    f = f[f < 18_500]
    weights = np.exp(0.5 * body_rng.standard_normal(len(f))) * (f / 3000) ** (0.8 * strength - 0.3)
    rates = draw(body_rng, 1.5, 4) * (1 + f / 6000)
    out = ring(f, rates, weights, samples)
    t = clock(samples)
    stick = noise(rng, samples, [(400, -16), (3000, 0), (12_000, -3)]) * np.exp(-t / 0.004)
    return out / np.abs(out).max() + 0.4 * stick * (1 - np.exp(-t * 10_000)) * 0.3


def horn(
    body_rng: Generator, rng: Generator, samples: int, pitches: tuple[float, ...], strength: float
) -> Array:
    """Horn tones together, (samples,): harmonics that brighten with the level, 20 to 60 ms of attack."""
    t = clock(samples)
    attack = np.minimum(t / draw(body_rng, 0.02, 0.06), 1.0) ** 1.5
    out = np.zeros(samples)
    for pitch in pitches:
        n = np.arange(1, 28)
        formant = np.exp(-0.5 * (np.log2(n * pitch / draw(body_rng, 700, 1500)) / 1.2) ** 2)
        levels = (0.25 + formant) / n ** (1.5 - 0.9 * strength) * np.exp(0.3 * body_rng.standard_normal(27))
        bend = 1 - 0.02 * np.exp(-t / 0.04)
        out += harmonics(phase_of(pitch * bend * drift(rng, samples, 6, 0.002)), levels, rng)
    air = noise(rng, samples, [(200, -14), (1500, 0), (6000, -8), (14_000, -24)])
    return (out + 0.08 * air) * attack * drift(rng, samples, 5, 0.04)


def whistle(rng: Generator, pitch: Array, strength: float, breath: float) -> Array:
    """A whistle or flute tone along ``pitch`` (samples,) Hz, with ``breath`` 0..1 of noise at its pitch."""
    samples = len(pitch)
    tone = harmonics(phase_of(pitch * drift(rng, samples, 7, 0.004)), [1.0, 0.12 + 0.3 * strength, 0.05], rng)
    return tone * drift(rng, samples, 8, 0.1) + breath * moving_band(rng, pitch, 0.12, 8.0)


def signal(
    body_rng: Generator, rng: Generator, samples: int, pitch: float, strength: float, pattern: str
) -> Array:
    """An electronic sounder, (samples,). pattern: "steady", "beeps", "two_tone", "sweep", "slow_sweep"."""
    t = clock(samples)
    rate = {"steady": 0.0, "beeps": 4.0, "two_tone": 2.0, "sweep": 3.0, "slow_sweep": 0.25}[pattern]
    rate *= draw(body_rng, 0.7, 1.4)
    turn = (rate * t) % 1.0
    frequency = np.full(samples, pitch)
    gate = np.ones(samples)
    if pattern == "beeps":
        gate = ((turn < draw(body_rng, 0.4, 0.65)) * 1.0).astype(np.float64)
    elif pattern == "two_tone":
        frequency = np.where(turn < 0.5, pitch, pitch * draw(body_rng, 1.2, 1.5))
    elif pattern == "sweep":
        frequency = pitch * (1 + 0.6 * turn)
    elif pattern == "slow_sweep":
        frequency = pitch * 2 ** (0.6 - 0.6 * np.cos(2 * np.pi * rate * t))
    smooth = np.hanning(242)[1:-1] / np.hanning(242).sum()
    gate = np.convolve(gate, smooth)[:samples]
    harmonic = draw(body_rng, 0.15, 0.9) * (0.5 + strength)  # from a near sine to a square buzzer
    levels = [1.0] + [harmonic / n if n % 2 else 0.3 * harmonic / n for n in range(2, 12)]
    return (
        harmonics(phase_of(frequency * drift(rng, samples, 3, 0.001)), levels, rng)
        * gate
        * drift(rng, samples, 6, 0.04)
    )
