"""Recipes of continuous sounds: water, weather, fire, machines, rubbing."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.random import Generator

from edgefoley.train.sounds.synthesis import air, friction, liquid, rotation
from edgefoley.train.sounds.synthesis.modal import body
from edgefoley.train.sounds.synthesis.noise import band, drift, instants, noise
from edgefoley.train.sounds.synthesis.recipe import Bed, Recipe, lasting
from edgefoley.train.sounds.synthesis.sound import RATE, Array, draw


def constant(samples: int, value: float) -> Array:
    return np.full(samples, value)


def boiling(thing: Generator, rng: Generator, samples: int, strength: float) -> Array:
    return liquid.simmer(rng, samples, strength, 0.3 * thing.random())


def bubbling(thing: Generator, rng: Generator, samples: int, strength: float) -> Array:
    radii = (1.5e-3, draw(thing, 5e-3, 1.5e-2))
    rate = draw(thing, 25, 110) * (0.5 + strength) * drift(rng, samples, 4, 0.8)
    return liquid.bubble_cloud(rng, rate, radii, 1.5, 0.5)


def frying(thing: Generator, rng: Generator, samples: int, strength: float) -> Array:
    """Droplets of water burst in hot fat: dense, small, bright, over a hiss."""
    spit = [(500, -16), (1800, -3), (4500, 0), (9000, -5), (20_000, -20)]
    rate = draw(thing, 250, 900) * (0.4 + strength) * drift(rng, samples, 5, 0.4)
    out = friction.crackle(rng, rate, spit, 0.0006, 1.6)
    hiss = noise(rng, samples, [(200, -14), (1200, -4), (4000, 0), (12_000, -10)]) * drift(
        rng, samples, 12, 0.15
    )
    return out + draw(thing, 0.03, 0.08) * (0.5 + strength) * hiss


def raining(surface: str, heavy: float) -> Bed:
    return lambda thing, rng, samples, strength: liquid.rain(rng, samples, heavy * (0.2 + strength), surface)


def flowing(coarse_low: float, coarse_high: float) -> Bed:
    return lambda thing, rng, samples, strength: liquid.stream(
        rng, samples, float(thing.uniform(coarse_low, coarse_high)), strength
    )


def pouring(thing: Generator, rng: Generator, samples: int, strength: float) -> Array:
    return liquid.pour(thing, rng, strength, samples / RATE)


def submerged(thing: Generator, rng: Generator, samples: int, strength: float) -> Array:
    low = noise(rng, samples, [(30, 0), (120, 0), (400, -12), (1500, -34), (6000, -60)])
    cloud = liquid.bubble_cloud(
        rng, 14 * (0.4 + strength) * drift(rng, samples, 2, 1.0), (2e-3, 1e-2), 1.5, 0.3
    )
    return low * drift(rng, samples, 2, 0.3) + draw(thing, 1.5, 4) * cloud


def blowing(strength_scale: float, howl: float) -> Bed:
    return lambda thing, rng, samples, strength: air.wind(
        thing, rng, samples, strength_scale * strength, howl * float(thing.random())
    )


def rustling(stiff: tuple[float, float], rate: float) -> Bed:
    """Something thin is handled: bursts of motion with pauses."""

    def make(thing: Generator, rng: Generator, samples: int, strength: float) -> Array:
        motion = np.clip(drift(rng, samples, rate, 0.8) - 0.35, 0.02, 2.2) / 2.2
        return friction.sheet(
            rng, motion * (0.4 + 0.6 * strength), float(thing.uniform(*stiff)), draw(thing, 0.8, 1.3)
        )

    return make


def foliage(thing: Generator, rng: Generator, samples: int, strength: float) -> Array:
    gust = np.clip(drift(rng, samples, 1.2, 0.5), 0, 2.5) / 2.5
    bed = noise(rng, samples, [(300, -24), (1500, -6), (4500, 0), (10_000, -5), (18_000, -18)])
    dry = friction.sheet(rng, gust * (0.3 + 0.5 * strength), float(thing.uniform(0.3, 0.6)), 1.1)
    return 0.25 * bed * gust**1.5 * drift(rng, samples, 20, 0.25) + dry


def stroking(centre: float, rough: float, period: tuple[float, float], back: float, wood: float) -> Bed:
    """Strokes to and fro: brush, saw, chalk, pencil. wood: share heard through a wooden body."""

    def make(thing: Generator, rng: Generator, samples: int, strength: float) -> Array:
        target = body(thing, "plate", "wood", draw(thing, 150, 420), 22, draw(thing, 1.0, 2.0))
        speed = friction.strokes(rng, samples, draw(thing, *period) * (1.3 - 0.5 * strength), back)
        pitch = centre * draw(thing, 0.75, 1.35) * (0.7 + 0.6 * strength)
        rubbed = friction.rub(rng, speed, rough * draw(thing, 0.7, 1.2), pitch, 1.1)
        return friction.through(rubbed, target, wood)

    return make


def sawing(thing: Generator, rng: Generator, samples: int, strength: float) -> Array:
    """Teeth at some hundred per second while the stroke lasts, on a wooden body, with the blade's ring."""
    speed = friction.strokes(rng, samples, draw(thing, 0.45, 0.9) * (1.25 - 0.5 * strength), 0.6, 0.85)
    board = body(thing, "plate", "wood", draw(thing, 180, 450), 22, 1.5)
    teeth = friction.stick_slip(rng, draw(thing, 180, 420) * speed + 1, speed, board, 0.18)
    rubbed = friction.through(friction.rub(rng, speed, 0.6, 3800 * (0.8 + 0.4 * strength)), board, 0.35)
    return 0.5 * teeth / (np.abs(teeth).max() + 1e-9) + 0.35 * rubbed


def creaking(thing: Generator, rng: Generator, samples: int, strength: float) -> Array:
    from edgefoley.train.sounds.synthesis.mechanism import creak

    return creak(thing, rng, strength, samples / RATE, (18, 160))


def squealing(thing: Generator, rng: Generator, samples: int, strength: float) -> Array:
    """Chalk on a board: stick-slip so fast that it is a tone, which breaks off and comes back."""
    speed = friction.strokes(rng, samples, draw(thing, 0.7, 1.4), 0.8, 0.8)
    board = body(thing, "plate", "wood", draw(thing, 500, 1100), 22, 1.0)
    rate = draw(thing, 900, 2600) * (0.75 + 0.35 * speed) * drift(rng, samples, 6, 0.06)
    gate = np.minimum(speed * 3, 1) * (drift(rng, samples, 9, 1.0) > 0.6)
    gate = np.convolve(gate, np.hanning(482)[1:-1] / 240, "same")
    squeak = friction.stick_slip(rng, rate, gate + 1e-4, board, 0.01)
    scratch = friction.rub(rng, speed, 0.7, 4500)
    return (0.5 + 0.5 * strength) * squeak + 0.1 * scratch


def driving(cylinders: tuple[int, ...], rpm: tuple[float, float], muffled: tuple[float, float]) -> Bed:
    """An engine that is held at a speed, a little uneven; strength raises speed and load."""

    def make(thing: Generator, rng: Generator, samples: int, strength: float) -> Array:
        speed = draw(thing, *rpm) * (0.8 + 0.7 * strength) * drift(rng, samples, 0.5, 0.08)
        load = np.clip((0.2 + 0.7 * strength) * drift(rng, samples, 1, 0.3), 0, 1)
        number = int(thing.choice(cylinders))
        return rotation.engine(thing, rng, speed, number, load, float(thing.uniform(*muffled)))

    return make


def chainsaw(thing: Generator, rng: Generator, samples: int, strength: float) -> Array:
    """One two-stroke cylinder, which fires at every turn as two of four strokes would, and the chain."""
    turning = driving((2,), (4200, 7000), (0.0, 0.15))(thing, rng, samples, strength)
    chain = friction.rub(
        rng, 0.6 + 0.4 * np.clip(drift(rng, samples, 2, 0.3), 0, 1), 0.6, draw(thing, 2500, 4500), 1.3
    )
    return turning + (0.25 + 0.45 * strength) * chain


def fan(thing: Generator, rng: Generator, samples: int, strength: float) -> Array:
    rate = constant(samples, draw(thing, 25, 110) * (0.7 + 0.5 * strength))
    levels = (np.exp(0.5 * thing.standard_normal(5)) * 0.12 / np.arange(1, 6)).tolist()
    flow = [(60, -14), (250, 0), (900, -3), (3000, -12 + 6 * strength), (12_000, -32)]
    return rotation.rotor(rng, rate, levels, flow, 0.25)


def washing(thing: Generator, rng: Generator, samples: int, strength: float) -> Array:
    drum = constant(samples, draw(thing, 0.8, 1.6)) * drift(rng, samples, 0.5, 0.03)
    turn = 0.5 + 0.5 * np.sin(rotation.phase_of(drum))
    slosh = noise(rng, samples, [(80, -6), (250, 0), (1200, -8), (6000, -26)]) * turn**2
    drops = liquid.bubble_cloud(rng, 90 * turn, (1e-3, 6e-3), 1.7, 0.2)
    hum = rotation.hum(thing, rng, samples, strength)
    return 0.8 * slosh + 0.8 * drops / (np.sqrt(np.mean(drops**2)) + 1e-9) * 0.5 + 0.5 * hum


def power_tool(pitch: tuple[float, float], brush: float, biting: float) -> Bed:
    """A drill or saw: spins up, runs, bites; the whine sinks under load."""

    def make(thing: Generator, rng: Generator, samples: int, strength: float) -> Array:
        spin = 1 - np.exp(-np.arange(samples) / (0.12 * RATE))
        load = np.clip((0.2 + 0.6 * strength) * drift(rng, samples, 1.5, 0.6), 0, 1)
        whine = rotation.motor(thing, rng, draw(thing, *pitch) * (0.4 + 0.6 * spin), load, brush)
        target = body(thing, "plate", str(thing.choice(["wood", "metal"])), draw(thing, 250, 600), 20, 8.0)
        bite = friction.through(friction.rub(rng, load, 0.8, 3500), target, 0.5)
        return whine * spin + biting * bite

    return make


def jackhammer(thing: Generator, rng: Generator, samples: int, strength: float) -> Array:
    chisel = body(thing, "bar", "metal", draw(thing, 700, 1500), 16, 20.0)
    ground = body(thing, "block", "concrete", draw(thing, 130, 280), 22, 1.5)
    period = constant(samples, 1 / draw(thing, 14, 26)) * drift(rng, samples, 1, 0.03)
    out = rotation.hammered(rng, [ground, ground, chisel], period, strength, 0.8)
    out /= np.abs(out).max() + 1e-12
    exhaust = noise(rng, samples, [(100, -8), (600, 0), (3000, -5), (12_000, -20)])
    beat = 0.5 + 0.5 * np.cos(rotation.phase_of(1 / period))
    return out + 0.12 * exhaust * beat**2


def propeller(thing: Generator, rng: Generator, samples: int, strength: float) -> Array:
    rate = draw(thing, 55, 110) * (0.8 + 0.4 * strength) * drift(rng, samples, 0.5, 0.02)
    levels = (np.exp(0.5 * thing.standard_normal(12)) / np.arange(1, 13) ** (1.3 - 0.5 * strength)).tolist()
    flow = [(60, -8), (200, 0), (1200, -8), (5000, -20), (14_000, -38)]
    return rotation.rotor(rng, rate, levels, flow, 0.5)


def rocket(thing: Generator, rng: Generator, samples: int, strength: float) -> Array:
    return rotation.turbine(thing, rng, samples, strength, 0.0)


def jet_engine(thing: Generator, rng: Generator, samples: int, strength: float) -> Array:
    return rotation.turbine(thing, rng, samples, strength, float(thing.uniform(0.4, 1.0)))


def geiger(thing: Generator, rng: Generator, samples: int, strength: float) -> Array:
    """Independent decays: clicks of one kind at Poisson instants."""
    train = np.zeros(samples)
    places = instants(rng, draw(thing, 4, 12) * 12**strength, samples).astype(np.int64)
    np.add.at(train, places, np.exp(0.1 * rng.standard_normal(len(places))))
    t = np.arange(240) / RATE
    pitch = draw(thing, 1500, 4500)
    click = np.sin(2 * np.pi * pitch * t) * np.exp(-t / draw(thing, 0.0003, 0.001))
    return np.convolve(train, click)[:samples]


def static(thing: Generator, rng: Generator, samples: int, strength: float) -> Array:
    hiss = noise(rng, samples, [(150, -16), (500, 0), (2200, 0), (4500, -18), (8000, -44)])
    pops = friction.crackle(rng, constant(samples, 30.0), [(300, -6), (1500, 0), (6000, -10)], 0.001, 1.5)
    tone = rotation.harmonics(
        rotation.phase_of(draw(thing, 500, 2500) * drift(rng, samples, 1, 0.15)), [1.0], rng
    )
    return (
        hiss * drift(rng, samples, 6, 0.3)
        + 2 * pops
        + 0.25 * strength * tone * (drift(rng, samples, 2, 1) > 1)
    )


def quake(thing: Generator, rng: Generator, samples: int, strength: float) -> Array:
    low = noise(rng, samples, [(25, 0), (50, 0), (120, -8), (500, -24), (2000, -44)])
    return low * drift(rng, samples, 3, 0.5) + 0.03 * band(rng, samples, 250, 2) * drift(rng, samples, 8, 0.8)


def spokes(thing: Generator, rng: Generator, samples: int, strength: float) -> Array:
    """The freewheel of a bicycle: pawls tick at an even rate that sinks slowly."""
    from edgefoley.train.sounds.synthesis.mechanism import part

    pawl = part(thing, "metal", draw(thing, 2500, 5000), 12)
    slowing = np.linspace(1.0, rng.uniform(0.6, 1.1), samples)
    period = 1 / (draw(thing, 14, 40) * (0.5 + strength) * slowing)
    return rotation.hammered(rng, [pawl], period, strength, 1.0) + 0.02 * band(rng, samples, 1500, 3)


def steam(thing: Generator, rng: Generator, samples: int, strength: float) -> Array:
    return air.jet(rng, samples, strength, draw(thing, 2500, 6500), 0.15 * float(thing.random()))


def rolling(centre: float) -> Bed:
    """Hard wheels on a rough road."""

    def make(thing: Generator, rng: Generator, samples: int, strength: float) -> Array:
        target = body(thing, "plate", "wood", draw(thing, 160, 420), 22, 2.0)
        speed = np.clip((0.5 + 0.5 * strength) * drift(rng, samples, 1, 0.2), 0, 1.2)
        return friction.through(
            friction.rub(rng, speed, 0.7, centre * draw(thing, 0.7, 1.4), 1.4), target, 0.5
        )

    return make


RECIPES: Final[dict[str, Recipe]] = {
    "pouring_water": lasting(pouring, 2.5, 5.0),
    "bubbles": lasting(bubbling),
    "boiling": lasting(boiling),
    "sizzle_frying": lasting(frying),
    "rain": lasting(raining("ground", 0.45)),
    "heavy_rain": lasting(raining("ground", 1.0)),
    "rain_window": lasting(raining("pane", 0.5)),
    "river_stream": lasting(flowing(0.2, 0.8)),
    "waterfall": lasting(flowing(0.8, 1.0)),
    "ocean_waves": lasting(
        lambda thing, rng, samples, strength: liquid.surf(rng, samples, strength), 6.0, 9.0
    ),
    "underwater": lasting(submerged),
    "wind": lasting(blowing(0.6, 0.3)),
    "strong_wind": lasting(blowing(1.2, 1.0)),
    "fire_crackle": lasting(air.fire),
    "steam_hiss": lasting(steam, 1.5, 4.0),
    "paper": lasting(rustling((0.5, 0.75), 3.0), 1.5, 3.5),
    "plastic_bag": lasting(rustling((0.85, 1.0), 3.5), 1.5, 3.5),
    "cloth_rustle": lasting(rustling((0.0, 0.15), 3.0), 1.5, 3.5),
    "leaves_rustle": lasting(foliage),
    "brush_sweep": lasting(stroking(3800, 0.35, (0.9, 1.6), 0.35, 0.1)),
    "scrape": lasting(stroking(2200, 0.8, (0.7, 1.6), 0.8, 0.45), 1.5, 3.5),
    "writing": lasting(stroking(4200, 0.55, (0.2, 0.5), 0.8, 0.3)),
    "hand_saw": lasting(sawing),
    "door_creak": lasting(creaking, 1.2, 3.0),
    "chalk_screech": lasting(squealing, 1.5, 3.0),
    "skateboard": lasting(rolling(800)),
    "bicycle_ride": lasting(spokes),
    "chainsaw": lasting(chainsaw),
    "motorcycle": lasting(driving((1, 2, 2), (1300, 3200), (0.1, 0.5))),
    "car_engine": lasting(driving((4, 4, 6), (900, 2200), (0.4, 0.9))),
    "truck": lasting(driving((6,), (700, 1400), (0.3, 0.7))),
    "tractor": lasting(driving((2, 3, 4), (600, 1100), (0.1, 0.5))),
    "boat": lasting(driving((1, 2), (400, 900), (0.5, 0.9))),
    "airplane": lasting(propeller),
    "jet": lasting(jet_engine),
    "rocket_launch": lasting(rocket),
    "helicopter": lasting(rotation.chopper),
    "fan": lasting(fan),
    "machine_hum": lasting(rotation.hum),
    "washing_machine": lasting(washing),
    "drill": lasting(power_tool((280, 700), 0.6, 0.5), 1.5, 4.0),
    "power_saw": lasting(power_tool((450, 1100), 1.0, 1.0), 1.5, 4.0),
    "jackhammer": lasting(jackhammer, 1.5, 4.0),
    "geiger": lasting(geiger),
    "radio": lasting(static),
    "earthquake": lasting(quake),
}
