"""Recipes of mechanisms, doors, signals, instruments and short movements of air and water."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.random import Generator

from edgefoley.train.sounds.synthesis import air, friction, liquid, mechanism, rotation, tones
from edgefoley.train.sounds.synthesis.modal import body, hit
from edgefoley.train.sounds.synthesis.noise import drift, noise
from edgefoley.train.sounds.synthesis.recipe import Bed, Draft, Recipe, happening, lasting
from edgefoley.train.sounds.synthesis.sound import RATE, Array, Sound, add_at, clock, count, draw, swell


def swung(thin: tuple[float, float]) -> Recipe:
    def make(thing: Generator, rng: Generator, strength: float, seconds: float) -> Sound:
        wave, climax = air.swing(thing, rng, strength, seconds, float(thing.uniform(*thin)))
        return swell(wave, strength, climax)

    return Recipe("swell", (0.4, 0.9), make)


def snapped(low: float, high: float) -> Draft:
    return lambda thing, rng, strength, seconds: mechanism.click(
        thing, rng, strength, min(seconds, 0.3), draw(thing, low, high)
    )


def press_release(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """A mouse button goes down at the onset and comes up 50 to 140 ms later, higher and softer."""
    out = mechanism.click(thing, rng, strength, seconds, draw(thing, 1800, 3600))
    out /= np.abs(out).max()
    up = mechanism.click(thing, rng, strength * 0.7, seconds, draw(thing, 2400, 4400))
    add_at(out, up / np.abs(up).max(), int(rng.uniform(0.05, 0.14) * RATE), 0.6)
    return out


def typed(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """One key; half of the takes with its release."""
    out = mechanism.key(thing, rng, strength, seconds, release=False)
    out /= np.abs(out).max()
    if rng.random() < 0.5:
        up = mechanism.key(thing, rng, strength, seconds, release=True)
        add_at(out, up / np.abs(up).max(), int(rng.uniform(0.07, 0.16) * RATE), rng.uniform(0.2, 0.45))
    return out


def opened(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """The handle's latch, then the leaf moves: air and a hinge that may creak."""
    out = np.zeros(count(seconds))
    unlatch = mechanism.latch(thing, rng, strength, min(seconds, 0.5), float(thing.uniform(0.1, 0.6)))
    add_at(out, unlatch / np.abs(unlatch).max(), 0)
    start = int(0.15 * RATE)
    rest = (len(out) - start) / RATE
    if rest > 0.2:
        hinge = mechanism.creak(thing, rng, strength, rest, (25, 140))
        add_at(out, hinge / (np.abs(hinge).max() + 1e-9), start, draw(thing, 0.05, 0.6))
    t = clock(len(out))
    leaf = noise(rng, len(out), [(60, -4), (150, 0), (700, -10), (4000, -28)])
    return out + 0.06 * leaf * np.exp(-(((t - 0.5 * seconds) / (0.2 * seconds)) ** 2)) * np.minimum(
        t / 0.1, 1
    )


def slid(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """A window slides in its frame from the onset and bumps."""
    samples = count(seconds)
    t = clock(samples)
    travel = 0.65 * seconds
    speed = np.sin(np.pi * np.clip(t / travel, 0, 1)) ** 0.5 * (t < travel)
    pane = body(thing, "plate", "glass", draw(thing, 140, 320), 24, 8.0)
    frame = body(thing, "bar", "wood", draw(thing, 180, 380), 16, 2.0)
    out = friction.through(friction.rub(rng, speed, 0.6, draw(thing, 1100, 2400)), frame, 0.6)
    out = out / (np.abs(out).max() + 1e-9) * draw(rng, 0.3, 0.6)
    click = mechanism.latch(thing, rng, strength, 0.2, 0.3)
    add_at(out, click / np.abs(click).max(), 0, 0.5)
    for target, level in ((frame, 1.0), (pane, 0.5)):
        bump = hit(rng, target, strength, 0.4, 2.0)
        add_at(out, bump / np.abs(bump).max(), int(travel * RATE), level)
    return out


def latched(heavy: tuple[float, float]) -> Draft:
    return lambda thing, rng, strength, seconds: mechanism.latch(
        thing, rng, strength, seconds, float(thing.uniform(*heavy))
    )


def car_door(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """Damped sheet metal, rubber seal, a lock of two clicks."""
    skin = body(thing, "plate", "metal", draw(thing, 60, 110), 34, draw(thing, 60, 110))
    blow = hit(rng, skin, strength, seconds, 18.0)
    out = blow / np.abs(blow).max() + 0.6 * mechanism.thump(rng, len(blow), draw(thing, 55, 85), 0.045)
    lock = mechanism.latch(thing, rng, strength, min(0.4, seconds), 0.5)
    add_at(out, lock / np.abs(lock).max(), 0, 0.35)
    return out


def zipped(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    samples = count(seconds)
    t = clock(samples) / seconds
    pull = np.sin(np.pi * np.clip(t / 0.92, 0, 1)) ** 0.25 * (0.5 + 0.7 * t) * drift(rng, samples, 4, 0.25)
    rate = (140 + 420 * strength) * draw(thing, 0.7, 1.3) * pull + 1e-3
    return friction.zip_teeth(rng, rate, draw(thing, 600, 2000)) * np.minimum(pull * 3, 1)


def scissored(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """Blades rub past each other faster and faster, then meet."""
    samples = count(min(seconds, 0.5))
    t = clock(samples)
    cut = draw(rng, 0.1, 0.2) * (1.3 - 0.5 * strength)
    speed = (0.4 + 0.6 * np.clip(t / cut, 0, 1)) * (t < cut) * np.minimum(t / 0.003, 1)
    blades = body(thing, "cantilever", "metal", draw(thing, 700, 1500), 12, 12.0)
    out = friction.through(friction.rub(rng, speed, 0.5, 7500 * (0.8 + 0.4 * strength)), blades, 0.3)
    out = 0.6 * out / (np.abs(out).max() + 1e-9)
    meet = hit(rng, blades, strength, samples / RATE, 0.8)
    add_at(out, meet / np.abs(meet).max(), int(cut * RATE))
    return out


def splashed(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    return liquid.splash(rng, strength, seconds, draw(thing, 0.15, 1.4))


def popped(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    return air.blast(rng, strength, min(seconds, 0.6), draw(thing, 0.0006, 0.002), draw(thing, 0.02, 0.06))


def sprayed(wet: float, low: float, high: float) -> Draft:
    """A valve opens at the onset, gas rushes out, the valve closes."""

    def make(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
        samples = count(seconds)
        t = clock(samples)
        stop = seconds * rng.uniform(0.6, 0.85)
        gate = (1 - np.exp(-t / 0.004)) * np.where(t < stop, 1.0, np.exp(-(t - stop) / 0.02))
        sag = 1 - 0.3 * t / seconds
        return air.jet(rng, samples, strength, draw(thing, low, high), wet) * gate * sag

    return make


def ignited(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """Vapour catches: a low puff that climbs within 0.1 s, then a young fire."""
    samples = count(seconds)
    t = clock(samples)
    puff = noise(rng, samples, [(30, -6), (90, 0), (400, -5), (2000, -16), (9000, -36)])
    out = puff * (1 - np.exp(-t / 0.03)) * np.exp(-t / draw(thing, 0.15, 0.4)) * drift(rng, samples, 18, 0.4)
    flames = air.fire(thing, rng, samples, strength)
    return out + 0.3 * flames / (np.abs(flames).max() + 1e-9) * (1 - np.exp(-t / 0.2))


def squeaked(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """A rubber toy is pressed: a reed's pitch goes up and down with the pressure."""
    samples = count(seconds)
    t = clock(samples) / seconds
    press = np.sin(np.pi * np.clip(t, 0, 1)) ** 0.6
    pitch = draw(thing, 650, 1500) * (0.8 + 0.35 * (0.5 + strength) * press)
    levels = np.exp(0.4 * thing.standard_normal(12)) / np.arange(1, 13) ** (1.4 - 0.6 * strength)
    tone = rotation.harmonics(rotation.phase_of(pitch * drift(rng, samples, 20, 0.01)), levels, rng)
    breath = noise(rng, samples, [(500, -12), (2500, 0), (9000, -8)])
    return (tone + 0.15 * breath) * press * np.minimum(clock(samples) / 0.006, 1)


def inflating(thing: Generator, rng: Generator, samples: int, strength: float) -> Array:
    """Breath or a pump in strokes, and rubber that creaks as it stretches."""
    strokes = friction.strokes(rng, samples, draw(thing, 0.8, 1.6), 0.5, 0.8)
    breath = noise(rng, samples, [(80, -6), (400, 0), (2000, -10), (10_000, -34)])
    skin = body(thing, "membrane", "rubber", draw(thing, 300, 700), 14, 0.3)
    rate = draw(thing, 40, 120) * (0.3 + strokes)
    return breath * strokes + 0.5 * friction.stick_slip(rng, rate, strokes, skin, 0.2)


def rung(low: float, high: float) -> Draft:
    return lambda thing, rng, strength, seconds: tones.bell(
        thing, rng, strength, seconds, draw(thing, low, high)
    )


def trilled(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """A bicycle's or telephone's bell: a clapper strikes the same gong again and again."""
    pitch = draw(thing, 1700, 3400)
    target = body(thing, "bowl", "metal", pitch, 8, draw(thing, 0.8, 2.0))
    period = draw(thing, 0.045, 0.09)
    strikes = int(min(0.6 * seconds, draw(rng, 0.3, 0.8)) / period)
    out = np.zeros(count(seconds))
    for i in range(max(2, strikes)):
        blow = hit(rng, target, strength * draw(rng, 0.85, 1.0), seconds - i * period, 1.2)
        add_at(
            out,
            blow / np.abs(blow).max(),
            int(i * period * draw(rng, 0.97, 1.03) * RATE),
            draw(rng, 0.6, 1.0),
        )
    return out


def ding_dong(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """Two bars, a third or a fourth apart, struck after each other by a plunger."""
    high = draw(thing, 560, 900)
    ratio = float(thing.choice([5 / 4, 6 / 5, 4 / 3]))
    out = np.zeros(count(seconds))
    for time, pitch in ((0.0, high), (rng.uniform(0.35, 0.6), high / ratio)):
        bar = body(thing, "bar", "metal", pitch, 4, draw(thing, 1.0, 2.0))
        blow = hit(rng, bar, strength, max(seconds - time, 0.05), 3.0)
        add_at(out, blow / np.abs(blow).max(), int(time * RATE))
    return out


def signalled(pitch: tuple[float, float], *patterns: str) -> Bed:
    return lambda thing, rng, samples, strength: tones.signal(
        thing, rng, samples, draw(thing, *pitch), strength, str(thing.choice(patterns))
    )


def beeped(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    samples = count(seconds)
    tone = tones.signal(thing, rng, samples, draw(thing, 350, 2600), strength, "steady")
    t = clock(samples)
    stop = seconds * float(thing.uniform(0.4, 0.9))
    return tone * np.minimum(t / 0.003, 1) * np.clip((stop - t) / 0.006, 0, 1)


def hooted(pitch: tuple[float, float], chord: tuple[float, ...]) -> Draft:
    """A horn blows from the onset and stops before the end."""

    def make(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
        samples = count(seconds)
        base = draw(thing, *pitch)
        wave = tones.horn(thing, rng, samples, tuple(base * f for f in chord), strength)
        t = clock(samples)
        stop = seconds * rng.uniform(0.6, 0.9)
        return wave * np.minimum(1.0, np.exp(-np.maximum(t - stop, 0) / 0.03))

    return make


def whistled(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """A steam or train whistle: several pipes that speak together, with much breath."""
    samples = count(seconds)
    t = clock(samples)
    base = draw(thing, 320, 620)
    out = np.zeros(samples)
    for f in (1.0, 1.19, 1.5):
        bend = 1 - 0.06 * np.exp(-t / 0.08)
        out += tones.whistle(rng, base * f * bend, strength, draw(thing, 0.2, 0.6))
    stop = seconds * rng.uniform(0.65, 0.9)
    return out * (1 - np.exp(-t / 0.012)) * np.minimum(1.0, np.exp(-np.maximum(t - stop, 0) / 0.06))


def zapped(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """A fantasy: a rich tone that falls by some octaves within a fifth of a second."""
    samples = count(seconds)
    t = clock(samples)
    pitch = draw(thing, 60, 200) + draw(thing, 1500, 4500) * np.exp(-t / draw(thing, 0.04, 0.14))
    levels = 1 / np.arange(1, 9) ** (1.5 - strength)
    out = rotation.harmonics(rotation.phase_of(pitch), levels, rng) * np.exp(-t / draw(thing, 0.1, 0.25))
    return out * np.minimum(t / 0.002, 1)


def crossing(thing: Generator, rng: Generator, samples: int, strength: float) -> Array:
    """The bell of a level crossing, struck by a motor."""
    target = body(thing, "bell", "metal", draw(thing, 500, 1100), 12, 3.0)
    return rotation.hammered(rng, [target], np.full(samples, 1 / draw(thing, 1.8, 3.5)), strength, 1.5)


def printing(thing: Generator, rng: Generator, samples: int, strength: float) -> Array:
    """A carriage goes to and fro, its motor whines, paper moves between."""
    speed = friction.strokes(rng, samples, draw(thing, 0.8, 1.4), 1.0, 0.85)
    whine = rotation.motor(thing, rng, draw(thing, 180, 420) * (0.4 + speed), 0.2 + 0 * speed, 0.6)
    paper = friction.rub(rng, np.clip(1 - speed, 0, 1), 0.3, 3500)
    return whine * np.minimum(speed * 2, 1) + 0.12 * paper


def till(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """A cash register: the bell, the drawer's spring, coins that shake."""
    out = tones.bell(thing, rng, strength, seconds, draw(thing, 1800, 2800))
    out /= np.abs(out).max()
    box = mechanism.latch(thing, rng, strength, min(seconds, 0.6), 0.6)
    add_at(out, box / np.abs(box).max(), int(0.02 * RATE), 0.8)
    return out


def ticked(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    return mechanism.tick(thing, rng, strength, min(seconds, 0.3), float(thing.uniform(0, 1)))


def puffed(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """A breath puts a flame out."""
    samples = count(min(seconds, 0.7))
    t = clock(samples)
    puff = noise(rng, samples, [(40, -3), (150, 0), (900, -6), (3000, -12 + 8 * strength), (12_000, -34)])
    return (
        puff * (1 - np.exp(-t / 0.02)) * np.exp(-t / draw(thing, 0.06, 0.16)) * drift(rng, samples, 25, 0.4)
    )


RECIPES: Final[dict[str, Recipe]] = {
    "water_drip": happening(0.25, 0.5, liquid.drip),
    "water_splash": happening(0.8, 1.8, splashed),
    "whoosh": swung((0.0, 0.4)),
    "sword_swing": swung((0.7, 1.0)),
    "balloon_pop": happening(0.3, 0.6, popped),
    "balloon_inflate": lasting(inflating, 1.5, 4.0),
    "spray": happening(0.6, 1.6, sprayed(0.5, 2200, 6000)),
    "fire_ignite": happening(1.0, 2.0, ignited),
    "candle_blow": happening(0.4, 0.7, puffed),
    "toy_squeak": happening(0.2, 0.5, squeaked),
    "clock_tick": happening(0.15, 0.3, ticked),
    "typing": happening(0.3, 0.5, typed),
    "mouse_click": happening(0.25, 0.35, press_release),
    "light_switch": happening(0.2, 0.3, snapped(900, 1900)),
    "camera_shutter": happening(0.35, 0.6, mechanism.shutter),
    "printer": lasting(printing),
    "door_close": happening(
        0.6, 1.0, lambda thing, rng, strength, seconds: mechanism.door(thing, rng, strength, seconds, False)
    ),
    "door_slam": happening(
        0.8, 1.4, lambda thing, rng, strength, seconds: mechanism.door(thing, rng, strength, seconds, True)
    ),
    "door_knock": happening(0.3, 0.5, mechanism.knock),
    "door_lock": happening(0.4, 0.8, latched((0.3, 0.8))),
    "door_open": happening(0.9, 1.8, opened),
    "gate": happening(0.7, 1.2, latched((0.9, 1.3))),
    "window_open": happening(0.7, 1.4, slid),
    "drawer": happening(0.7, 1.3, mechanism.drawer),
    "car_door": happening(0.5, 0.9, car_door),
    "zipper": happening(0.5, 1.2, zipped),
    "scissors": happening(0.3, 0.5, scissored),
    "boing_spring": happening(0.7, 1.5, mechanism.boing),
    "electric_spark": happening(
        0.4, 1.2, lambda thing, rng, strength, seconds: mechanism.spark(rng, strength, seconds)
    ),
    "bell_ring": happening(1.2, 3.0, rung(700, 2400)),
    "church_bells": happening(3.0, 5.0, rung(180, 500)),
    "bicycle_bell": happening(1.0, 2.0, trilled),
    "phone_ring": happening(1.2, 2.2, trilled),
    "doorbell": happening(1.2, 2.5, ding_dong),
    "singing_bowl": happening(3.0, 5.0, tones.bowl),
    "gong": happening(3.0, 5.0, tones.gong),
    "cymbal": happening(1.2, 2.5, tones.cymbal),
    "harp_string": happening(1.2, 2.5, tones.pluck),
    "beep": happening(0.15, 0.5, beeped),
    "alarm": lasting(signalled((450, 2800), "beeps", "two_tone", "sweep")),
    "siren": lasting(signalled((420, 700), "slow_sweep", "two_tone"), 4.0, 6.0),
    "car_alarm": lasting(signalled((500, 1100), "sweep", "two_tone", "beeps")),
    "car_horn": happening(0.6, 1.4, hooted((330, 480), (1.0, 1.26))),
    "ship_horn": happening(2.0, 3.5, hooted((70, 140), (1.0,))),
    "train_whistle": happening(1.5, 3.0, whistled),
    "level_crossing": lasting(crossing),
    "laser_zap": happening(0.3, 0.6, zapped),
    "cash_register": happening(1.0, 1.8, till),
}
