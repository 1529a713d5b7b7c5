"""Rubbing: stick-slip, scraping, and the crackle of sheets.

Stick-slip is a train of slips, each of which kicks the resonances of what is rubbed: regular at middling
speed (a creak's pitch follows the speed), irregular when slow (Rath & Rocchesso, "Continuous sonic feedback
from a rolling ball", IEEE MultiMedia 12, 2005; Serafin, "The sound of friction", thesis, Stanford 2004).
Scraping is a rough profile read at the speed of the motion: bandwidth and level grow with the speed (van den
Doel, Kry & Pai, "FoleyAutomatic", SIGGRAPH 2001). Crumpling sheets snap between creases: pulses whose
energies follow a power law (Houle & Sethna, "Acoustic emission from crumpling paper", Phys. Rev. E 54, 1996).
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from edgefoley.train.sounds.synthesis.modal import Body, excite, ring
from edgefoley.train.sounds.synthesis.noise import (
    Points,
    drift,
    filtered,
    instants,
    moving_band,
    noise,
    pick,
    power_law,
    white,
)
from edgefoley.train.sounds.synthesis.sound import RATE, Array, clock, scatter


def slips(rng: Generator, rate: Array, jitter: float) -> Array:
    """Sample positions of slips at ``rate`` (samples,) per second: regular when jitter is 0, else each period
    varies by a normal factor of that standard deviation."""
    phase = np.cumsum(rate) / RATE
    number = int(phase[-1]) if len(phase) else 0
    marks = np.cumsum(np.maximum(1 + jitter * rng.standard_normal(number), 0.15))
    return np.searchsorted(phase, marks[marks < phase[-1]]).astype(np.float64)


def stick_slip(rng: Generator, rate: Array, force: Array, target: Body, jitter: float = 0.04) -> Array:
    """Creak of ``target``: slips at ``rate`` (samples,) per second, the height of each with ``force``
    (samples,) 0..1 and with the time since the last (what stuck longer, slips farther)."""
    samples = len(rate)
    starts = slips(rng, rate, jitter)
    if not len(starts):
        return np.zeros(samples)
    places = np.minimum(starts.astype(np.int64), samples - 1)
    waited = np.diff(starts, prepend=starts[0] - RATE / max(float(rate[0]), 1.0))
    train = np.zeros(samples)
    height = force[places] * np.sqrt(waited / (np.median(waited) + 1.0))
    np.add.at(train, places, height * np.exp(0.15 * rng.standard_normal(len(places))))
    long = min(samples, RATE // 2)
    response = ring(target.frequencies, target.rates, target.weights, long)
    width = max(2, int(0.25e-3 * RATE))
    kick = np.exp(-np.arange(width * 4) / width)  # a slip is sudden, its end is not
    out = _convolve(train, excite(response, kick / kick.sum()))
    rough = noise(rng, samples, [(300, -18), (1500, 0), (6000, -6), (16_000, -24)]) * force
    return out / (np.abs(out).max() + 1e-12) + 0.012 * rough


def _convolve(wave: Array, response: Array) -> Array:
    from scipy.signal import oaconvolve

    return np.asarray(oaconvolve(wave, response)[: len(wave)])


def rub(rng: Generator, speed: Array, rough: float, centre: float, octaves: float = 1.0) -> Array:
    """Scraping at ``speed`` (samples,) 0..1: noise whose centre is ``centre`` Hz at speed 1 and follows the
    speed, level ~ speed; rough 0 (smooth) to 1 (grains heard one by one)."""
    pitch = centre * np.maximum(speed, 0.05) ** 0.6
    smooth = moving_band(rng, pitch, octaves, 5.0)
    grainy = smooth * np.minimum(np.abs(_convolve(white(rng, len(speed)), _hump(6))) ** 3, 9.0)
    mixed = (1 - rough) * smooth + rough * grainy
    return mixed * speed * drift(rng, len(speed), 40, 0.15 + 0.5 * rough)


def _hump(samples: int) -> Array:
    shape = np.hanning(samples * 16 + 2)[1:-1]
    return np.asarray(shape / np.sqrt(np.sum(shape**2)))


def through(wave: Array, target: Body, share: float) -> Array:
    """``wave`` heard partly (``share`` 0..1) through the ringing of ``target``; the level stays."""
    long = min(len(wave), RATE // 2)
    response = ring(target.frequencies, target.rates, target.weights, long)
    wet = _convolve(wave, response)
    wet *= np.sqrt(np.mean(wave**2) / (np.mean(wet**2) + 1e-20))
    return (1 - share) * wave + share * wet


def strokes(rng: Generator, samples: int, period: float, back: float, duty: float = 0.8) -> Array:
    """Speed 0..1 of a hand going to and fro, (samples,): one stroke and one return (``back`` times as fast)
    in each ``period`` seconds, which varies; still for the rest of the period. Begins with a stroke."""
    out = np.zeros(samples)
    start, forward = 0, True
    while start < samples:
        long = int(period / 2 * np.clip(1 + 0.2 * rng.standard_normal(), 0.5, 1.7) * RATE)
        moving = max(8, int(long * duty))
        shape = np.sin(np.pi * np.linspace(0, 1, moving) ** rng.uniform(0.7, 1.4)) ** 0.9 * (
            1.0 if forward else back
        )
        stop = min(samples, start + moving)
        out[start:stop] = shape[: stop - start] * np.exp(0.2 * rng.standard_normal())
        start, forward = start + long, not forward
    return out


def crackle(rng: Generator, rate: Array, spectrum: Points, decay_s: float, exponent: float = 1.5) -> Array:
    """Snaps at ``rate`` (samples,) per second, energies by a power law over six decades (amplitudes over
    three), each a burst of ``spectrum`` that dies in about ``decay_s``; peak 1."""
    samples = len(rate)
    length = int(decay_s * 8 * RATE) + 48
    t = clock(length)
    grains = np.empty((40, length))
    for row in grains:
        shift = float(np.exp(0.35 * rng.standard_normal()))
        row[:] = noise(rng, length, [(hz * shift, db) for hz, db in spectrum])
        row *= np.exp(-t / (decay_s * np.exp(0.5 * rng.standard_normal()))) * (1 - np.exp(-t * 20_000))
    starts = instants(rng, rate, samples)
    energies = power_law(rng, len(starts), exponent, 1e-6, 1.0)
    out = np.zeros(samples)
    scatter(out, grains, pick(rng, len(starts), 40), starts, np.sqrt(energies))
    return out / (np.abs(out).max() + 1e-12)


def sheet(rng: Generator, motion: Array, stiff: float, brightness: float = 1.0) -> Array:
    """A sheet that is moved, (samples,): stiff 0 (cloth: a soft rustle) over 0.6 (paper) to 1 (a plastic bag:
    sharp, dense crackle). ``motion`` (samples,) 0..1."""
    samples = len(motion)
    b = brightness * (0.7 + 0.6 * float(np.clip(motion.max(), 0, 1)))  # quick handling is brighter
    snap: Points = [(300 * b, -18), (1200 * b, -4), (4000 * b, 0), (9000 * b, -4), (18_000, -18)]
    snaps = crackle(rng, (60 + 1400 * stiff**1.5) * motion**1.5, snap, 0.0009 + 0.0015 * (1 - stiff), 1.6)
    low = -8 - 12 * stiff
    soft = noise(
        rng, samples, [(100, low / 2), (500 * b, low / 4), (1600 * b, 0), (6000 * b, -12), (18_000, -32)]
    )
    soft *= motion * drift(rng, samples, 25, 0.45)
    soft /= np.abs(soft).max() + 1e-12
    return (0.12 + 0.88 * stiff) * snaps + (1 - 0.75 * stiff) * soft


def zip_teeth(rng: Generator, rate: Array, pitch: float) -> Array:
    """A zip: teeth close at ``rate`` (samples,) per second, each a tick around ``pitch`` Hz, and the slider
    buzzes with them."""
    samples = len(rate)
    length = 300
    t = clock(length)
    grains = np.empty((24, length))
    for row in grains:
        centre = pitch * np.exp(0.25 * rng.standard_normal())
        tick = noise(
            rng, length, [(centre / 8, -30), (centre, 0), (min(centre * 2.5, 16_000), -9), (20_000, -30)]
        )
        row[:] = tick * np.exp(-t / 0.0009) * (1 - np.exp(-t * 30_000))
    starts = slips(rng, rate, 0.04)
    out = np.zeros(samples)
    gains = np.exp(0.3 * rng.standard_normal(len(starts)))
    scatter(out, grains, pick(rng, len(starts), 24), starts, gains)
    cloth = (
        noise(rng, samples, [(200, -10), (900, 0), (4000, -6), (16_000, -30)]) * rate / (rate.max() + 1e-9)
    )
    return filtered(out, [(150, -24), (600, 0)]) / (np.abs(out).max() + 1e-12) + 0.06 * cloth
