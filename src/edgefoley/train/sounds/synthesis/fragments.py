"""Things that break, and heaps of small hard things: many modal grains at random instants.

A break is one crack (the whole body rings, heavily damped by its cracks) followed by a cascade of fragments
that hit the ground and each other: sizes by a power law, rates falling with time, small fragments higher in
pitch (frequency ~ 1 / size) and shorter. Coins, keys and cutlery jingle: the same few bodies hit each other
again and again. Sources: Sethna, Dahmen & Myers, "Crackling noise", Nature 410 (2001); Warren & Verbrugge,
"Auditory perception of breaking and bouncing events", JEP:HPP 10 (1984): breaking is heard from many
asynchronous pulse trains of different pitch, bouncing from one regular train.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from edgefoley.train.sounds.synthesis.modal import (
    MATERIALS,
    Body,
    body,
    elsewhere,
    excite,
    hit,
    pulse,
    ring,
)
from edgefoley.train.sounds.synthesis.noise import drift, filtered, instants, noise, pick, power_law
from edgefoley.train.sounds.synthesis.sound import RATE, Array, add_at, clock, count, draw, scatter


def shards(rng: Generator, material: str, pitches: Array, damping: float = 1.5) -> Array:
    """One grain per pitch (Hz, the lowest mode of a fragment): (G, L) rows of peak 1, each a fragment's ring
    after a short contact."""
    length = int(min(0.35, 0.06 * 0.02 / max(MATERIALS[material].loss, 2e-3) + 0.03) * RATE)
    rows = np.zeros((len(pitches), length))
    tail = 0.5 + 0.5 * np.cos(np.pi * np.linspace(0, 1, length))
    for row, pitch in zip(rows, np.clip(pitches, 60, 15_000).tolist(), strict=True):
        chip = body(rng, "block" if rng.random() < 0.4 else "plate", material, pitch, 7, damping)
        width = max(2, int(MATERIALS[material].contact_ms * 1e-3 * RATE * draw(rng, 0.3, 1.2)))
        grain = excite(ring(chip.frequencies, chip.rates, chip.weights, length), pulse(width)) * tail
        row += grain / (np.abs(grain).max() + 1e-12)
    return rows


def cascade(rng: Generator, material: str, samples: int, rate: Array, pitch: float, damping: float) -> Array:
    """Fragments falling, (samples,), peak 1: ``rate`` (samples,) per second, each of size s in 1..12 by a
    power law, lowest mode at ``pitch / s`` Hz (``pitch``: of the smallest), energy with the size, over the
    unresolved patter of debris finer than the smallest."""
    sizes = np.sort(power_law(rng, 40, 1.6, 1.0, 12.0))
    grains = shards(rng, material, pitch / sizes, damping)
    starts = instants(rng, rate, samples)
    which = pick(rng, len(starts), len(sizes))
    gains = sizes[which] ** 0.7 * power_law(rng, len(starts), 1.7, 0.02, 1.0)
    out = np.zeros(samples)
    scatter(out, grains, which, starts, gains * rng.choice([-1.0, 1.0], len(starts)))
    out /= np.abs(out).max() + 1e-12
    low = min(max(pitch / 6, 150.0), 3000.0)
    fine = noise(rng, samples, [(low / 3, -30), (low, -6), (min(pitch, 12_000), 0), (20_000, -12)])
    thickness = np.asarray(rate / (rate.max() + 1e-9), dtype=np.float64)
    return out + 0.07 * fine * thickness**0.8 * drift(rng, samples, 50, 0.5)


def crack(rng: Generator, samples: int, low: float, high: float, decay_s: float) -> Array:
    """The noise of a rupture: a few tears within milliseconds, each a burst from ``low`` to ``high`` Hz that
    dies in ``decay_s``; the first at sample 0, peak about 1."""
    out = np.zeros(samples)
    burst = min(samples, int(decay_s * 7 * RATE) + 64)
    t = clock(burst)
    at = np.concatenate([[0.0], rng.exponential(decay_s * 0.8, int(rng.integers(2, 7)))])
    for i, start in enumerate(at.tolist()):
        rough = noise(rng, burst, [(low / 6, -40), (low, 0), (high, -4), (min(high * 3, 20_000), -30)])
        rough *= np.exp(-t / (decay_s * draw(rng, 0.4, 1.2))) * (1 - np.exp(-t * 12_000))
        add_at(out, rough, int(start * RATE), (1.0 if i == 0 else rng.uniform(0.2, 0.7)) / 3)
    return out


def shatter(
    rng: Generator, material: str, pitch: float, strength: float, seconds: float, sharp: float = 1.0
) -> Array:
    """A body of ``material`` (lowest mode ``pitch`` Hz) breaks at sample 0: crack, ring of the dying whole,
    and 1 to 3 falls of fragments. ``sharp`` > 1 raises the fragments' pitch. Harder: more, smaller fragments.
    """
    samples = count(seconds)
    t = clock(samples)
    whole = body(rng, "plate", material, pitch, 22, draw(rng, 3.0, 7.0), 60)
    out = hit(rng, whole, max(strength, 0.3), min(seconds, 0.6))
    out = np.concatenate([out / np.abs(out).max(), np.zeros(samples)])[:samples] * 0.8
    out += crack(rng, samples, pitch * 1.5, min(pitch * 12, 14_000), draw(rng, 0.006, 0.016)) * 0.9
    rate = 700 * (0.4 + strength) * np.exp(-t / draw(rng, 0.06, 0.14))
    for _ in range(int(rng.integers(1, 4))):  # larger pieces reach the ground later and break once more
        later = rng.uniform(0.12, 0.55)
        since = np.maximum(t - later, 0)
        rate += (t > later) * rng.uniform(100, 350) * (0.3 + strength) * np.exp(-since / draw(rng, 0.05, 0.2))
    falling = cascade(
        rng, material, samples, rate, pitch * 9 * sharp * (0.7 + 0.6 * strength), draw(rng, 1, 2)
    )
    falling *= 1 - np.exp(-t / 0.004)
    out += falling * (0.55 / (np.abs(falling).max() + 1e-12))
    return out


def splinter(rng: Generator, material: str, pitch: float, strength: float, seconds: float) -> Array:
    """A fibrous body breaks (wood, a bone, a tree): a dense burst of tears around sample 0 that thins out,
    then a few dry pieces. Energies by a power law of exponent 1.5."""
    samples = count(seconds)
    t = clock(samples)
    out = crack(rng, samples, pitch * 1.2, min(pitch * 14, 9000), draw(rng, 0.006, 0.014))
    whole = body(rng, "bar", material, pitch, 14, draw(rng, 2, 4), 40)
    ringing = ring(whole.frequencies, whole.rates, whole.weights, samples)
    out += excite(ringing, pulse(24)) * (0.9 / (np.abs(ringing).max() + 1e-12))
    # The tail of tears is what tells a break from a knock.
    rate = 650 * (0.3 + strength) * np.exp(-t / draw(rng, 0.04, 0.12))
    rate += 40 * np.exp(-t / (0.25 * seconds)) * drift(rng, samples, 8, 1.0)
    grains = np.stack(
        [crack(rng, 1400, pitch * draw(rng, 1, 3), 9000, draw(rng, 0.001, 0.004)) for _ in range(16)]
    )
    grains[8:] += shards(rng, material, pitch * power_law(rng, 8, 1.5, 1.5, 8), 1.5)[:, :1400] * 0.6
    starts = instants(rng, rate, samples)
    scatter(out, grains, pick(rng, len(starts), 16), starts, power_law(rng, len(starts), 1.5, 0.05, 1.0))
    torn = noise(rng, samples, [(pitch / 2, -18), (pitch * 2, 0), (4000, -6 + 6 * strength), (16_000, -26)])
    return out + 0.12 * torn * (rate / rate.max()) ** 0.7 * drift(rng, samples, 70, 0.7)


def jingle(
    rng: Generator, bodies: list[Body], rate: Array, strength: float, seconds: float, first: bool = True
) -> Array:
    """The same few bodies hit each other: ``rate`` (samples,) hits per second, the first at sample 0 when
    ``first``. Each hit sounds two bodies, at different positions of the hit each time."""
    samples = count(seconds)
    out = np.zeros(samples)
    starts = instants(rng, rate[:samples], samples)
    if first:
        starts = np.concatenate([[0.0], starts])
    loudest = np.where(starts == 0, 1.0, 0.0) if first else np.zeros(len(starts))
    gains = np.maximum(power_law(rng, len(starts), 1.4, 0.1, 1.0), loudest)
    for start, gain in zip(starts.tolist(), gains.tolist(), strict=True):
        for target in (bodies[i] for i in pick(rng, 2, len(bodies))):
            long = min(samples - int(start), int(9.2 / float(target.rates.min()) * RATE) + 64)
            once = hit(rng, elsewhere(rng, target, 0.6), strength * (0.5 + 0.5 * gain), long / RATE)
            add_at(out, once, int(start), gain / (float(np.abs(once).max()) + 1e-12))
    return out


def bounces(
    first_gap: float, restitution: float, shortest: float = 0.012, most: int = 40
) -> list[tuple[float, float]]:
    """(time in s, relative speed) of the contacts of a dropped thing: each flight ``restitution`` times as
    long as the one before, down to ``shortest`` seconds."""
    found, t, gap, speed = [(0.0, 1.0)], 0.0, first_gap, 1.0
    while gap > shortest and len(found) < most:
        t, speed = t + gap, speed * restitution
        found.append((t, speed))
        gap *= restitution
    return found


def tumble(
    rng: Generator, target: Body, contacts: list[tuple[float, float]], strength: float, seconds: float
) -> Array:
    """``target`` hits the ground at ``contacts`` [(s, relative speed)], each time on another spot."""
    samples = count(seconds)
    out = np.zeros(samples)
    for time, speed in contacts:
        start = int(time * draw(rng, 0.97, 1.03) * RATE)
        if start >= samples:
            break
        softer = strength + np.log(speed) / np.log(120)  # speed_of's scale: relative speed becomes strength
        add_at(out, hit(rng, elsewhere(rng, target), float(softer), (samples - start) / RATE), start)
    return out


def rolling_stones(rng: Generator, material: str, pitch: float, rate: Array, strength: float) -> Array:
    """Stones that fall and roll, (len(rate),): a cascade with large members, over a dull rumble that follows
    their rate."""
    samples = len(rate)
    out = cascade(rng, material, samples, rate, pitch * (0.7 + 0.6 * strength), 1.2)
    out = filtered(out, [(1200, 0), (5000, -10), (16_000, -26)])  # earth and dust cover the chips
    low = noise(rng, samples, [(30, -6), (70, 0), (160, -6), (600, -30)]) * rate / (rate.max() + 1e-9)
    return out + 0.12 * strength * low
