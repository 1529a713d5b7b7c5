"""Small mechanisms: clicks, latches, clocks, keys, doors, drawers, shutters, springs, sparks.

A mechanism is a short programme of contacts, a few milliseconds to tenths of a second apart, each of a small
stiff part on a larger body that colours it. The programmes (which parts meet in which order) come from how
the things are built; gaps, levels and colours are drawn. Left out: anything that a motor keeps going
(``rotation``).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from edgefoley.train.sounds.synthesis.friction import stick_slip, strokes
from edgefoley.train.sounds.synthesis.modal import Body, body, elsewhere, excite, hit, ring
from edgefoley.train.sounds.synthesis.noise import band, drift, instants, noise, power_law
from edgefoley.train.sounds.synthesis.sound import RATE, Array, add_at, clock, count, draw
from edgefoley.train.sounds.synthesis.steps import thump

Step = tuple[float, float, Body]  # seconds, level, what is hit


def part(rng: Generator, material: str, pitch: float, damping: float = 6.0) -> Body:
    """A small mounted part: ``pitch`` Hz (varied by a third), damped by what it is screwed to."""
    shape = str(rng.choice(["plate", "cantilever", "block"]))
    return body(rng, shape, material, pitch * draw(rng, 0.75, 1.33), 12, damping, 16)


def programme(rng: Generator, steps: Sequence[Step], strength: float, seconds: float) -> Array:
    """Contacts in order, (samples,): each ``(seconds, level, body)`` is one hit scaled to a peak of
    ``level``; times and levels vary by a tenth, the first is at sample 0 if its time is 0."""
    out = np.zeros(count(seconds))
    for time, level, target in steps:
        start = int(time * draw(rng, 0.9, 1.1) * RATE)
        if start >= len(out):
            continue
        once = hit(rng, elsewhere(rng, target, 0.25), strength, min(0.5, (len(out) - start) / RATE))
        add_at(out, once, start, level * draw(rng, 0.85, 1.15) / (float(np.abs(once).max()) + 1e-12))
    return out


def click(body_rng: Generator, rng: Generator, strength: float, seconds: float, pitch: float) -> Array:
    """A switch or button at sample 0: the spring snaps over, the part hits its stop 1 to 4 ms later, and the
    housing answers."""
    spring = part(body_rng, "metal", pitch * 1.6, 25)
    stop = part(body_rng, "plastic", pitch, 1.5)
    housing = part(body_rng, "plastic", pitch * 0.28, 1.2)
    gap = draw(body_rng, 0.001, 0.004)
    steps = [(0.0, 0.7, spring), (gap, 1.0, stop), (gap, 0.35 * (0.3 + strength), housing)]
    return programme(rng, steps, strength, seconds)


def key(body_rng: Generator, rng: Generator, strength: float, seconds: float, release: bool) -> Array:
    """One key of a keyboard at sample 0: (press) the switch clicks, then the cap reaches the plate; (release)
    the cap comes up against its stop, thinner and quieter. The board's case sounds under both."""
    cap = part(body_rng, "plastic", draw(body_rng, 1300, 2800), 2.0)
    plate = part(body_rng, str(body_rng.choice(["metal", "plastic"])), draw(body_rng, 500, 1200), 30.0)
    case = part(body_rng, "plastic", draw(body_rng, 160, 380), 1.3)
    snap = part(body_rng, "metal", draw(body_rng, 3500, 6000), 30)
    clicky = body_rng.uniform(0.1, 0.9)
    if release:
        return programme(rng, [(0.0, 1.0, cap), (0.003, 0.3 * clicky, snap)], strength * 0.7, seconds)
    travel = draw(rng, 0.006, 0.014) * (1.4 - 0.7 * strength)
    steps = [
        (0.0, 0.35 * clicky + 0.1, snap),
        (travel, 0.9, cap),
        (travel + 0.0006, 0.7, plate),
        (travel + 0.001, 0.1 + 0.3 * strength, case),
    ]
    return programme(rng, steps, strength, seconds)


def tick(body_rng: Generator, rng: Generator, strength: float, seconds: float, big: float) -> Array:
    """One beat of a clock at sample 0: the pallet unlocks, the wheel gives its impulse, a tooth drops, within
    5 to 25 ms. big 0 (a wrist watch) to 1 (a grandfather clock)."""
    pitch = 7000 * 0.22**big
    wheel, pallet = part(body_rng, "metal", pitch, 18), part(body_rng, "metal", pitch * 1.5, 25)
    case = part(body_rng, "wood" if big > 0.4 else "plastic", pitch * 0.16, 1.2)
    span = (0.005 + 0.02 * big) * draw(body_rng, 0.7, 1.4)
    tock = draw(rng, 0.8, 1.25)  # the two beats of an escapement differ
    steps = [
        (0.0, 0.55, pallet),
        (span * 0.3 * tock, 0.4, pallet),
        (span, 1.0, wheel),
        (span * 1.02, 0.25 + 0.5 * big * tock, case),
    ]
    return programme(rng, steps, strength, seconds)


def latch(body_rng: Generator, rng: Generator, strength: float, seconds: float, heavy: float) -> Array:
    """A bolt goes home, from sample 0: the mechanism moves, teeth pass, and the bolt hits its plate. heavy 0
    (a cabinet) to 1 (a gate)."""
    pitch = 2600 * 0.35**heavy
    bolt, teeth = part(body_rng, "metal", pitch, 12), part(body_rng, "metal", pitch * 1.9, 20)
    frame = part(body_rng, "wood", pitch * 0.13, 1.5)
    turn = draw(body_rng, 0.06, 0.16) * (1.3 - 0.6 * strength)
    steps: list[Step] = [(0.0, draw(rng, 0.5, 0.8), teeth)]
    steps += [(turn * f, draw(rng, 0.1, 0.4), teeth) for f in np.sort(rng.uniform(0.1, 0.9, 4)).tolist()]
    steps += [(turn, 1.0, bolt), (turn + 0.001, 0.4 + 0.5 * heavy, frame), (turn + 0.02, 0.3, bolt)]
    out = programme(rng, steps, strength, seconds)
    t = clock(len(out))
    slide = band(rng, len(out), pitch * 1.5, 2.0) * drift(rng, len(out), 90, 0.6)
    return out + 0.04 * slide * np.minimum(t / 0.01, 1) * (t < turn)


def door(body_rng: Generator, rng: Generator, strength: float, seconds: float, slam: bool) -> Array:
    """A door meets its frame at sample 0: low modes of the panel, the latch's click, and (slam) the thump of
    the air of the room and the rattle of what hangs on it."""
    samples = count(seconds)
    material = str(body_rng.choice(["wood", "wood", "wood", "metal"]))
    pitch = draw(body_rng, 55, 120)
    damping = draw(body_rng, 1.0, 2.2) if material == "wood" else draw(body_rng, 25, 60)
    panel = body(body_rng, "plate", material, pitch, 30, damping, 60)
    frame = body(body_rng, "bar", "wood", pitch * draw(body_rng, 2.2, 4), 14, 2.0, 40)
    bolt = part(body_rng, "metal", draw(body_rng, 1200, 2600), 14)
    force = 0.45 + 0.55 * strength if slam else 0.8 * strength
    blow = hit(rng, panel, force, seconds, 2.0 - 1.2 * force)
    out = blow / np.abs(blow).max()
    edge = hit(rng, frame, force, seconds, 2.0)
    out += 0.8 * edge / np.abs(edge).max()
    air = thump(rng, samples, draw(rng, 32, 55) if slam else draw(rng, 60, 95), 0.05 + 0.05 * slam)
    out += (0.6 if slam else 0.3) * air
    add_at(
        out,
        programme(
            rng, [(0.0, 0.7, bolt), (draw(rng, 0.012, 0.06), 0.5, bolt), (0.015, 0.5, frame)], force, 0.3
        ),
        48,
    )
    if slam:
        start = int(0.02 * RATE)
        rate = 70 * strength * np.exp(-clock(samples - start) / draw(rng, 0.06, 0.15))
        for place, gain in zip(
            instants(rng, rate, samples - start).tolist(), power_law(rng, 4000, 1.7, 0.03, 0.3), strict=False
        ):
            once = hit(rng, frame if rng.random() < 0.6 else bolt, 0.4, 0.15)
            add_at(out, once, start + int(place), float(gain) / float(np.abs(once).max()))
    return out


def knock(body_rng: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """One knuckle on a door at sample 0: soft contact, the panel's low modes and the leaf's hollow."""
    panel = body(body_rng, "plate", "wood", draw(body_rng, 90, 210), 26, draw(body_rng, 0.8, 1.6), 30)
    blow = hit(rng, panel, strength, seconds, draw(body_rng, 1.0, 2.2))
    hollow = thump(rng, len(blow), draw(body_rng, 130, 230) * draw(rng, 0.97, 1.03), 0.018)
    return blow / np.abs(blow).max() + 0.5 * hollow


def drawer(body_rng: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """A drawer is pushed shut: runners rumble and rub, then it hits its stop and what is in it moves. It
    starts with a jerk at sample 0."""
    samples = count(seconds)
    t = clock(samples)
    box = body(body_rng, "plate", "wood", draw(body_rng, 100, 220), 26, draw(body_rng, 1.5, 3), 30)
    travel = seconds * rng.uniform(0.3, 0.45) * (1.25 - 0.5 * strength)
    moving = np.sin(np.pi * np.clip(t / travel, 0, 1) * 0.85 + 0.15) * (t < travel)
    rumble = noise(rng, samples, [(60, -8), (180, 0), (600, -6), (2500, -12), (9000, -26)])
    rolled = ring(box.frequencies, box.rates, box.weights, samples)
    rumble = excite(rolled, rumble * moving * drift(rng, samples, 40, 0.6))
    out = rumble / (np.abs(rumble).max() + 1e-12) * draw(rng, 0.25, 0.5)
    started = hit(rng, elsewhere(rng, box), 0.5 * strength, seconds, 3.0)
    add_at(out, started / np.abs(started).max(), 0, draw(rng, 0.15, 0.4))
    stop = hit(rng, box, strength, seconds, 3.0)
    add_at(out, stop / np.abs(stop).max(), int(travel * RATE))
    content = part(body_rng, "metal", 2200, 10)
    for delay in rng.exponential(0.05, int(rng.integers(1, 6))).tolist():
        extra = hit(rng, content, 0.4, 0.2)
        add_at(out, extra, int((travel + delay) * RATE), 0.12 / float(np.abs(extra).max()))
    return out


def shutter(body_rng: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """A camera takes a picture at sample 0: mirror up, first curtain, second curtain, mirror down."""
    mirror = part(body_rng, "plastic", draw(body_rng, 1100, 2400), 1.5)
    curtain = part(body_rng, "metal", draw(body_rng, 3000, 5500), 35)
    case = part(body_rng, "plastic", draw(body_rng, 250, 420), 1.6)
    open_for = draw(body_rng, 0.03, 0.11)
    steps = [
        (0.0, 0.7, mirror),
        (0.001, 0.2, case),
        (0.022, 0.9, curtain),
        (0.022 + open_for, 1.0, curtain),
        (0.03 + open_for, 1.0, mirror),
        (0.031 + open_for, 0.3 * strength + 0.1, case),
        (0.05 + open_for, 0.25, mirror),
    ]
    out = programme(rng, steps, strength, seconds)
    t = clock(len(out))
    whirr = band(rng, len(out), 2400, 1.5) * (0.6 + 0.4 * np.sin(2 * np.pi * draw(body_rng, 150, 260) * t))
    return out + 0.05 * whirr * (t > 0.004) * (t < 0.05 + open_for) * np.minimum(t / 0.01, 1)


def boing(body_rng: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """A coil spring or a ruler is let go at sample 0: a rich tone whose pitch wobbles at the rate of the free
    end and rises while the swing shrinks, over the click of the release."""
    samples = count(seconds)
    t = clock(samples)
    base = draw(body_rng, 90, 260) * draw(rng, 0.95, 1.05)
    wobble = draw(body_rng, 7, 18)
    decay = draw(body_rng, 0.25, 0.6)
    swing_now = (0.25 + 0.5 * strength) * np.exp(-t / (0.6 * decay))
    pitch = (
        base * (1 + 0.35 * (1 - np.exp(-t / decay))) * (1 + 0.5 * swing_now * np.sin(2 * np.pi * wobble * t))
    )
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    out = np.zeros(samples)
    for n in range(1, 14):
        stretched = n * np.sqrt(1 + 0.004 * n * n)
        level = n ** -(1.5 - 0.7 * strength) * draw(body_rng, 0.5, 1.6)
        out += level * np.sin(stretched * phase) * np.exp(-t * (1 + 0.25 * n) / decay)
    release = part(body_rng, "metal", 2500, 15)
    snap = hit(rng, release, strength, min(0.2, seconds))
    out *= 1 - np.exp(-t * 900)
    add_at(out, snap, 0, 0.5 * float(np.abs(out).max()) / float(np.abs(snap).max()))
    return out


def spark(rng: Generator, strength: float, seconds: float) -> Array:
    """An electric arc strikes at sample 0 and buzzes at twice the mains' rate until it breaks off: ragged
    clicks."""
    samples = count(seconds)
    t = clock(samples)
    mains = 2 * float(rng.choice([50.0, 60.0]))
    lasting = seconds * rng.uniform(0.35, 0.75)
    alive = (drift(rng, samples, 14, 1.2) > 0.75) * (t < lasting) + (t < 0.004)
    gate = np.maximum(np.sin(np.pi * mains * t + 0.6), 0.0) ** 2 + (t < 0.002)
    rate = (800 + 5000 * strength) * gate * alive
    starts = instants(rng, rate, samples)
    starts = np.concatenate([[0.0], starts])
    train = np.zeros(samples)
    gains = np.concatenate([[1.0], power_law(rng, len(starts) - 1, 1.7, 0.05, 1.0)])
    np.add.at(train, starts.astype(np.int64), gains * rng.choice([-1.0, 1.0], len(starts)))
    click_t = clock(160)
    grain = noise(rng, 160, [(300, -10), (1500, 0), (6000, -6), (19_000, -16)]) * np.exp(-click_t / 0.0008)
    grain[0] += 1.0
    buzz = noise(rng, samples, [(200, -10), (1500, 0), (9000, -6)]) * gate * alive * 0.05
    return np.convolve(train, grain)[:samples] + buzz


def creak(
    body_rng: Generator, rng: Generator, strength: float, seconds: float, pitch: tuple[float, float]
) -> Array:
    """A hinge or board under load creaks from sample 0: stick-slip whose rate (Hz, drawn between ``pitch``)
    follows an uneven push, on a wooden body."""
    samples = count(seconds)
    target = body(body_rng, "plate", "wood", draw(body_rng, 220, 520), 18, draw(body_rng, 1.0, 2.0))
    push = strokes(rng, samples, seconds * draw(rng, 0.8, 1.6), 0.7, 0.9) ** 0.6
    base = draw(body_rng, *pitch) * (0.7 + 0.6 * strength)
    rate = base * (0.25 + push) * drift(rng, samples, 5, 0.3)
    force = push * drift(rng, samples, 8, 0.35) * np.minimum(clock(samples) / 0.01, 1.0)
    return stick_slip(rng, rate, force, target, draw(body_rng, 0.02, 0.15))
