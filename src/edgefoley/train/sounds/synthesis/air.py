"""Moving air and fire: swings, wind, jets of gas, sudden release of pressure, flames.

A swung rod sheds vortices at 0.2 v / d (Strouhal 1878), and the sound power of such a dipole grows with the
sixth power of the speed (Curle 1955), so a swing is quiet, then suddenly there. Jets are broad noise that
brightens with the pressure. Fire is a low roar of turbulent burning, hiss, and crackles of bursting pockets
with power-law energies (Farnell, "Designing Sound", MIT Press 2010). Left out: propagation.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from edgefoley.train.sounds.synthesis.friction import crackle
from edgefoley.train.sounds.synthesis.noise import Points, band, drift, moving_band, noise
from edgefoley.train.sounds.synthesis.sound import RATE, Array, clock, count, draw

STROUHAL = 0.2


def swing(
    body_rng: Generator, rng: Generator, strength: float, seconds: float, thin: float
) -> tuple[Array, int]:
    """(wave, sample of the greatest speed) of something swung through the air. thin 0 (an arm, a cape) to 1
    (a blade, a switch: narrower and higher)."""
    samples = count(seconds)
    t = clock(samples)
    climax = seconds * rng.uniform(0.42, 0.58)
    width = seconds * draw(body_rng, 0.1, 0.16) * (1.25 - 0.5 * strength)
    skew = np.where(t < climax, 1.0, rng.uniform(0.6, 0.9))
    speed = np.exp(-0.5 * ((t - climax) / (width * skew)) ** 2)
    fastest = (8 + 32 * strength) * draw(rng, 0.85, 1.15)
    diameter = draw(body_rng, 0.012, 0.03) * 0.22**thin
    centre = np.clip(STROUHAL * fastest * np.maximum(speed, 0.12) / diameter, 60, 14_000)
    out = moving_band(rng, centre, 0.75 - 0.35 * thin, 4.0)
    broad = moving_band(rng, np.clip(centre * 2.2, 200, 15_000), 1.1, 3.0)
    body_air = moving_band(rng, np.clip(centre * 0.3, 60, 4000), 0.9, 3.0)
    mixed = out + (0.15 + 0.35 * strength) * broad + 0.5 * (1 - thin) * body_air
    return mixed * speed**2 * drift(rng, samples, 30, 0.15), int(climax * RATE)


def wind(body_rng: Generator, rng: Generator, samples: int, strength: float, howl: float) -> Array:
    """Wind, (samples,): gusts move the band and the level together; ``howl`` 0..1: share of edges and gaps
    that whistle."""
    gust = drift(rng, samples, 0.7, 0.35) * drift(rng, samples, 3, 0.12)
    gust = gust / gust.mean()
    centre = draw(body_rng, 90, 240) * (0.5 + 0.9 * strength) * gust
    out = moving_band(rng, centre, 1.1, 2.0) * gust**1.5
    leaves = noise(rng, samples, [(500, -14), (2000, -3), (6000, -5), (14_000, -20)])
    out += (0.03 + 0.08 * strength) * leaves * gust**2.5 * drift(rng, samples, 12, 0.25)
    for _ in range(2):
        pitch = draw(body_rng, 350, 1100) * gust**0.5
        out += 0.5 * howl * moving_band(rng, pitch, 0.07) * gust**3 * drift(rng, samples, 1.5, 0.5)
    return out


def jet(rng: Generator, samples: int, strength: float, centre: float, wet: float = 0.0) -> Array:
    """Gas that escapes, (samples,) steady: broad noise around ``centre`` Hz that brightens with the pressure;
    ``wet`` 0..1: sputter of droplets."""
    centre *= 0.7 + 0.6 * strength
    points: Points = [
        (centre / 16, -34),
        (centre / 3, -9),
        (centre, 0),
        (min(centre * 2.5, 16_000), -5),
        (21_000, -16),
    ]
    out = noise(rng, samples, points) * drift(rng, samples, 18, 0.08 + 0.25 * wet)
    if wet > 0:
        spit = crackle(
            rng, np.full(samples, 300.0 * wet), [(centre / 2, -6), (centre, 0), (18_000, -12)], 0.001, 1.6
        )
        out += 2.5 * wet * spit
    return out + 0.1 * band(rng, samples, centre / 8, 1.5) * drift(rng, samples, 8, 0.4)


def blast(rng: Generator, strength: float, seconds: float, length_s: float, tail: float) -> Array:
    """Pressure is let go at sample 0 (a balloon, a cork): an N-shaped wave of ``length_s``, then noise that
    loses its treble within ``tail`` seconds."""
    samples = count(seconds)
    t = clock(samples)
    out = np.where(t < length_s, 1 - 2 * t / length_s, 0.0) * (1 - np.exp(-t * 40_000))
    for octave in range(5):  # high bands die first
        centre = 400 * 2.0**octave
        level = 0.30 * 2 ** (-0.25 * octave) * (0.6 + 0.5 * strength * octave / 2)
        dying = np.exp(-t / (tail * 0.62**octave))
        out += level * band(rng, samples, centre, 1.0) * dying * (1 - np.exp(-t * 6000))
    return out


def fire(body_rng: Generator, rng: Generator, samples: int, strength: float) -> Array:
    """A fire, (samples,): roar, hiss, small crackles and rarer, larger pops in bursts."""
    flame = drift(rng, samples, 6, 0.35)
    roar = noise(rng, samples, [(25, -8), (60, 0), (160, -5), (500, -18), (2500, -38)]) * flame**1.5
    hiss = noise(rng, samples, [(500, -16), (2500, 0), (7000, -3), (16_000, -14)]) * drift(
        rng, samples, 10, 0.3
    )
    bursts = drift(rng, samples, 2.5, 0.9)
    fine: Points = [(500, -14), (2000, -2), (5000, 0), (11_000, -6), (19_000, -18)]
    coarse: Points = [(150, -12), (600, -1), (1800, 0), (6000, -9), (16_000, -26)]
    small = crackle(rng, draw(body_rng, 14, 50) * (0.4 + strength) * bursts, fine, 0.0007, 1.45)
    large = crackle(rng, draw(body_rng, 3, 9) * (0.4 + strength) * bursts, coarse, 0.003, 1.35)
    bed = draw(body_rng, 0.006, 0.03)
    return (
        (0.5 + 0.6 * strength) * small + 0.8 * large + bed * (0.6 + 0.6 * strength) * roar + 0.25 * bed * hiss
    )
