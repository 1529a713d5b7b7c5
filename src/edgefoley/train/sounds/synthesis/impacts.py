"""Recipes of hits, drops, breaks, jingles and steps."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.random import Generator

from edgefoley.train.sounds.synthesis import fragments, steps, tones
from edgefoley.train.sounds.synthesis.air import blast
from edgefoley.train.sounds.synthesis.friction import rub, sheet
from edgefoley.train.sounds.synthesis.modal import (
    MATERIALS,
    Body,
    bar_pitch,
    body,
    elsewhere,
    hit,
)
from edgefoley.train.sounds.synthesis.noise import drift, instants, noise, pick, power_law
from edgefoley.train.sounds.synthesis.recipe import Draft, Recipe, happening
from edgefoley.train.sounds.synthesis.sound import RATE, Array, add_at, clock, count, draw, scatter

# shape, material, lowest and highest pitch in Hz, least and most damping
Kind = tuple[str, str, float, float, float, float]


def drawn(rng: Generator, *kinds: Kind) -> Body:
    """A body of one of the kinds."""
    shape, material, low, high, least, most = kinds[int(rng.integers(len(kinds)))]
    dense = 10 if MATERIALS[material].loss < 0.005 else 40  # clear things are clear
    return body(rng, shape, material, draw(rng, low, high), 26, draw(rng, least, most), dense)


def struck(softness: tuple[float, float], *kinds: Kind, weight: float = 0.0) -> Draft:
    """One hit on a body of one of the kinds, cut when it has died away; ``weight``: of a thump below."""

    def make(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
        target = drawn(thing, *kinds)
        soft = draw(thing, *softness)
        strong = target.weights > 0.05 * target.weights.max()
        seconds = min(seconds, 7.5 / float(target.rates[strong].min()) + 0.1)
        out = hit(rng, elsewhere(rng, target, 0.4), strength, seconds, soft * draw(rng, 0.85, 1.2))
        out /= np.abs(out).max()
        if weight:
            out += weight * draw(rng, 0.6, 1.3) * steps.thump(rng, len(out), draw(thing, 55, 120), 0.03)
        return out

    return make


def two(softness: tuple[float, float], *kinds: Kind) -> Draft:
    """Two bodies hit each other: both ring; often they touch again within 10 to 60 ms."""

    def make(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
        pair = [drawn(thing, *kinds), drawn(thing, *kinds)]
        soft = draw(thing, *softness)
        out = np.zeros(count(seconds))
        again = [0.0] + ([rng.uniform(0.012, 0.06)] if rng.random() < 0.55 else [])
        for i, time in enumerate(again):
            for target in pair:
                blow = hit(rng, elsewhere(rng, target, 0.4), strength * (1 - 0.3 * i), seconds, soft)
                add_at(
                    out, blow / np.abs(blow).max(), int(time * RATE), 1.0 if i == 0 else rng.uniform(0.2, 0.6)
                )
        return out

    return make


def dropped(restitution: tuple[float, float], gap: tuple[float, float], *kinds: Kind) -> Draft:
    """A thing falls on the floor and bounces to rest; thing and floor ring."""

    def make(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
        target = drawn(thing, *kinds)
        floor = steps.floor_body(thing, str(thing.choice(["wood", "concrete"])))
        contacts = fragments.bounces(draw(rng, *gap) * (0.6 + 0.5 * strength), rng.uniform(*restitution))
        ringing = fragments.tumble(rng, target, contacts, strength, seconds)
        ground = fragments.tumble(rng, floor, contacts[:4], strength, seconds)
        ground *= draw(thing, 0.1, 0.5) / (np.abs(ground).max() + 1e-12)
        return ringing / (np.abs(ringing).max() + 1e-12) + ground

    return make


def coin(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """Falls, bounces a few times, then spins down: contacts come faster and faster (Euler's disk)."""
    target = drawn(thing, ("membrane", "metal", 3500, 8500, 0.6, 2.5))
    contacts = fragments.bounces(draw(rng, 0.14, 0.32), rng.uniform(0.5, 0.65), 0.04)
    t, gap = contacts[-1][0], draw(rng, 0.03, 0.05)
    while gap > 0.005 and t < seconds - 0.3:
        t += gap
        contacts.append((t, 0.32 * (gap / 0.05) ** 0.5))
        gap *= 0.955
    return fragments.tumble(rng, target, contacts, strength, seconds)


def jingling(
    shape: str, pitch: tuple[float, float], few: tuple[int, int], rate: float, damping: float
) -> Draft:
    """Several metal things hit each other for the whole sound, most at its beginning."""

    def make(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
        number = int(thing.integers(few[0], few[1] + 1))
        bodies = [
            body(thing, shape, "metal", draw(thing, *pitch), 10, damping * draw(thing, 0.6, 1.6))
            for _ in range(number)
        ]
        samples = count(seconds)
        t = clock(samples)
        fading = np.exp(-t / (0.35 * seconds)) * drift(rng, samples, 8, 0.5) * (t < 0.85 * seconds)
        return fragments.jingle(rng, bodies, rate * (0.5 + strength) * fading, strength, seconds)

    return make


def crockery(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """Plates, bowls and cutlery are put together."""
    kinds = (("bowl", "ceramic", 900, 2400, 0.4, 1.2), ("plate", "ceramic", 600, 1500, 0.5, 1.5))
    bodies = [drawn(thing, *kinds) for _ in range(3)]
    bodies.append(drawn(thing, ("bar", "metal", 1200, 3000, 3, 9)))
    samples = count(seconds)
    rate = 14 * (0.4 + strength) * np.exp(-clock(samples) / (0.3 * seconds)) * drift(rng, samples, 6, 0.6)
    return fragments.jingle(rng, bodies, rate, strength, seconds)


def chimes(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """Tubes of a wind chime, tuned to a pentatonic scale: lengths give pitches by the bar's law."""
    longest = draw(thing, 0.13, 0.32)
    tube = bar_pitch(MATERIALS["metal"], longest, 0.022)
    scale = [1, 1.125, 1.25, 1.5, 1.6875, 2]
    bodies = [body(thing, "tube", "metal", min(tube * f, 6000), 6, draw(thing, 0.5, 1.2)) for f in scale]
    samples = count(seconds)
    rate = (1.5 + 5 * strength) * drift(rng, samples, 1, 0.6) * (clock(samples) < 0.7 * seconds)
    return fragments.jingle(rng, bodies, rate, 0.3 + 0.5 * strength, seconds)


def broken(material: str, low: float, high: float, sharp: float = 1.0) -> Draft:
    return lambda thing, rng, strength, seconds: fragments.shatter(
        rng, material, draw(thing, low, high), strength, seconds, sharp * draw(thing, 0.8, 1.25)
    )


def splintered(low: float, high: float) -> Draft:
    return lambda thing, rng, strength, seconds: fragments.splinter(
        rng, "wood", draw(thing, low, high), strength, seconds
    )


def rocks(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    samples = count(seconds)
    t = clock(samples)
    rate = 55 * (0.4 + strength) * np.exp(-t / (0.3 * seconds)) * drift(rng, samples, 4, 0.4) + 3
    rate *= t < 0.9 * seconds
    out = fragments.rolling_stones(rng, "stone", draw(thing, 600, 1500), rate, strength)
    out *= np.minimum(t / 0.002, 1)
    first = hit(rng, drawn(thing, ("block", "stone", 180, 500, 1, 2)), strength, min(0.5, seconds))
    add_at(out, first / np.abs(first).max(), 0, 0.9)
    return out


def hammer_nail(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """Steel on steel, the nail's short ring (it is held by the wood), and the board below."""
    nail = drawn(thing, ("bar", "metal", 2500, 4500, 2, 6))
    board = drawn(thing, ("plate", "wood", 110, 320, 0.6, 1.4))
    blow, under = hit(rng, nail, strength, seconds), hit(rng, elsewhere(rng, board), strength, seconds, 0.6)
    rattle = fragments.jingle(rng, [nail], 60 * np.exp(-clock(len(blow)) / 0.06), 0.4, seconds, first=False)
    return 0.6 * blow / np.abs(blow).max() + under / np.abs(under).max() + 0.08 * rattle


def chop(wood_low: float, wood_high: float, split: float) -> Draft:
    """A blade goes into something on a board: the cut's tear, then the board."""

    def make(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
        board = drawn(thing, ("plate", "wood", wood_low, wood_high, 0.7, 1.6))
        blade = drawn(thing, ("plate", "metal", 900, 2200, 20, 50))
        out = hit(rng, elsewhere(rng, board), strength, seconds, 1.5)
        out /= np.abs(out).max()
        ring = hit(rng, blade, strength, seconds, 2.0)
        out += 0.12 * ring / np.abs(ring).max() + steps.thump(rng, len(out), draw(thing, 80, 150), 0.02) / 4
        torn = fragments.splinter(rng, "wood", draw(thing, 250, 500), strength, seconds)
        torn /= np.abs(torn).max()
        return out + split * (0.15 + 0.35 * strength) * torn

    return make


def soft(low: float, high: float, slap: float) -> Draft:
    """Something limp lands or is hit: a thump, the slap of its surface, the rustle of cloth."""

    def make(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
        samples = count(min(seconds, 0.7))
        t = clock(samples)
        out = steps.thump(rng, samples, draw(thing, low, high), draw(thing, 0.02, 0.045))
        width = draw(thing, 0.008, 0.025) * (1.4 - 0.6 * strength)
        top = 900 + 3500 * strength
        skin = noise(rng, samples, [(100, -12), (350, 0), (top, -6), (4 * top, -36)])
        out += 2 * slap * (0.3 + 0.7 * strength) * skin * np.exp(-t / width) * (1 - np.exp(-t * 4000))
        rustle = sheet(rng, np.exp(-t / 0.08) * np.minimum(t / 0.02, 1), 0.05)
        return out + 0.12 * slap * rustle

    return make


def dig(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """A spade goes into the ground at once, and earth with small stones slides off it."""
    samples = count(seconds)
    t = clock(samples)
    ground = str(thing.choice(["earth", "gravel", "sand"]))
    force = np.exp(-t / draw(rng, 0.06, 0.12)) + 0.4 * np.exp(-0.5 * ((t - 0.35) / 0.1) ** 2)
    out = steps.crush(rng, ground, np.minimum(force, 1) * (0.4 + 0.6 * strength), 0.7 + 0.5 * strength)
    blade = hit(rng, drawn(thing, ("plate", "metal", 500, 1100, 30, 80)), strength, seconds, 3.0)
    return (
        out * np.minimum(t / 0.003, 1)
        + 0.3 * blade / np.abs(blade).max()
        + 0.5 * steps.thump(rng, samples, 90, 0.03)
    )


def metal_crash(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    bodies = [
        drawn(thing, ("plate", "metal", 120, 700, 3, 15), ("tube", "metal", 250, 900, 3, 15))
        for _ in range(5)
    ]
    samples = count(seconds)
    rate = 60 * (0.4 + strength) * np.exp(-clock(samples) / draw(rng, 0.1, 0.3))
    out = fragments.jingle(rng, bodies, rate, strength, seconds)
    rough = noise(rng, samples, [(80, -6), (400, 0), (3000, -3), (12_000, -14)]) * np.exp(
        -clock(samples) / 0.06
    )
    return out / np.abs(out).max() + 0.15 * strength * rough + 0.5 * steps.thump(rng, samples, 70, 0.05)


def ball(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """An inflated ball meets the floor: skin, and the air inside as a short low ring near 4 radii a wave."""
    samples = count(min(seconds, 0.6))
    t = clock(samples)
    pitch = draw(thing, 75, 190) * draw(rng, 0.97, 1.03)
    out = 0.6 * steps.thump(rng, samples, pitch, draw(thing, 0.025, 0.05))
    cavity = draw(thing, 700, 1400)  # first resonance of the air inside
    out += 0.25 * (0.3 + strength) * np.sin(2 * np.pi * cavity * t) * np.exp(-t / draw(thing, 0.02, 0.05))
    skin = drawn(thing, ("membrane", "rubber", 180, 420, 0.4, 0.8))
    slap = hit(rng, skin, strength, samples / RATE, 0.35)
    rough = noise(rng, samples, [(200, -12), (900, 0), (3000, -6), (12_000, -24)]) * np.exp(-t / 0.012)
    rough *= 0.25 * (0.3 + strength) * (1 - np.exp(-t * 3000))
    return out + slap / np.abs(slap).max() + rough


def heart(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """The two sounds of the valves, lub at the onset and dub a third of a beat later."""
    samples = count(max(seconds, 0.6))
    out = steps.thump(rng, samples, draw(thing, 38, 55), draw(thing, 0.04, 0.06))
    second = steps.thump(rng, samples, draw(thing, 50, 72), draw(thing, 0.03, 0.045))
    add_at(out, second, int(draw(thing, 0.24, 0.34) * RATE), draw(rng, 0.5, 0.8))
    t = clock(samples)
    skin = noise(rng, samples, [(60, 0), (150, -6), (500, -20), (2000, -40)])
    return out + 0.1 * (0.4 + strength) * skin * np.exp(-t / 0.05) * np.minimum(t / 0.004, 1)


def bowling(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """Pins fall: hollow blocks of maple hit each other and the floor."""
    bodies = [drawn(thing, ("bar", "wood", 700, 1400, 0.6, 1.2)) for _ in range(6)]
    samples = count(seconds)
    rate = 38 * (0.3 + strength) * np.exp(-clock(samples) / 0.22)
    out = fragments.jingle(rng, bodies, rate, strength, seconds)
    return out / np.abs(out).max() + 0.15 * steps.thump(rng, samples, 80, 0.04)


def egg(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """A thin shell taps, then tears."""
    samples = count(min(seconds, 0.6))
    t = clock(samples)
    out = fragments.crack(rng, samples, 900, 7000, 0.003)
    out += (
        fragments.cascade(rng, "ceramic", samples, 220 * (0.3 + strength) * np.exp(-t / 0.05), 11_000, 6)
        * 0.05
    )
    return out + 0.1 * rub(rng, np.exp(-(((t - 0.15) / 0.06) ** 2)), 0.8, 2500)


def match(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """The head scrapes from the onset, then flares."""
    samples = count(seconds)
    t = clock(samples)
    scrape = draw(thing, 0.12, 0.25)
    out = rub(rng, np.minimum(t / 0.004, 1) * (t < scrape), 0.9, 6500)
    flare = noise(rng, samples, [(80, -14), (400, -3), (2500, 0), (7000, -4), (16_000, -14)])
    since = np.maximum(t - 0.8 * scrape, 0)
    burn = (since > 0) * (1 - np.exp(-since / 0.03)) * (np.exp(-since / 0.16) + 0.12 * np.exp(-since / 0.8))
    return out + (0.6 + 0.6 * strength) * flare * burn * drift(rng, samples, 30, 0.35)


def firework(thing: Generator, rng: Generator, strength: float, seconds: float) -> Array:
    """A report at the onset, then the crackling of stars."""
    out = blast(rng, strength, seconds, 0.004, draw(thing, 0.15, 0.4))
    samples = len(out)
    t = clock(samples)
    late = (t > 0.25) * np.exp(-np.maximum(t - 0.25, 0) / (0.25 * seconds))
    grains = np.stack([fragments.crack(rng, 900, 800, 8000, 0.003) for _ in range(8)])
    stars = np.zeros(samples)
    places = instants(rng, np.asarray(90 * strength * late, dtype=np.float64), samples)
    gains = power_law(rng, len(places), 1.5, 0.05, 0.35)
    scatter(stars, grains, pick(rng, len(places), 8), places, gains)
    return out / np.abs(out).max() + stars


def drumming(low: float, high: float, snares: float = 0.0) -> Draft:
    return lambda thing, rng, strength, seconds: tones.drum(
        thing, rng, strength, seconds, draw(thing, low, high), snares
    )


METAL: Final[tuple[Kind, ...]] = (
    ("plate", "metal", 180, 900, 2, 14),
    ("bar", "metal", 400, 1800, 1.5, 10),
    ("tube", "metal", 350, 1500, 1.5, 10),
    ("bowl", "metal", 500, 1500, 2, 10),
)
WOOD: Final[tuple[Kind, ...]] = (
    ("bar", "wood", 250, 1100, 0.5, 1.3),
    ("plate", "wood", 120, 500, 0.5, 1.4),
    ("block", "wood", 400, 1300, 0.5, 1.3),
)
STONE: Final[tuple[Kind, ...]] = (("block", "stone", 220, 1500, 0.4, 1.2),)
GLASS: Final[tuple[Kind, ...]] = (
    ("bowl", "glass", 700, 2600, 0.25, 1.0),
    ("tube", "glass", 1200, 3200, 0.4, 1.2),
)
PLASTIC: Final[tuple[Kind, ...]] = (
    ("plate", "plastic", 180, 800, 0.35, 0.9),
    ("tube", "plastic", 250, 900, 0.35, 0.9),
)


def _metal_blow(low: float, high: float, least: float, most: float) -> Draft:
    return two(
        (0.6, 1.6), ("bar", "metal", low, high, least, most), ("plate", "metal", low, high, least, most)
    )


RECIPES: Final[dict[str, Recipe]] = {
    "metal_hit": happening(0.6, 2.0, struck((0.6, 3.0), *METAL)),
    "wood_hit": happening(0.3, 0.7, struck((0.3, 1.6), *WOOD, weight=0.2)),
    "stone_hit": happening(0.25, 0.6, two((0.8, 2.0), *STONE)),
    "plastic_hit": happening(0.3, 0.6, struck((0.5, 2.0), *PLASTIC, weight=0.1)),
    "soft_hit": happening(0.4, 0.7, soft(60, 130, 0.5)),
    "anvil": happening(1.2, 2.5, struck((0.5, 1.0), ("block", "metal", 700, 1600, 1.0, 4.0))),
    "hammer_nail": happening(0.4, 0.7, hammer_nail),
    "pickaxe": happening(0.4, 0.9, two((0.5, 1.0), ("bar", "metal", 900, 2200, 4, 12), *STONE)),
    "sword_clash": happening(0.8, 1.8, _metal_blow(700, 2400, 1.0, 4.0)),
    "metal_crash": happening(1.2, 2.5, metal_crash),
    "woodpecker": happening(0.2, 0.4, struck((0.4, 0.8), ("bar", "wood", 500, 1100, 1.0, 2.0))),
    "arrow_hit": happening(0.3, 0.6, chop(140, 300, 0.4)),
    "punch": happening(0.3, 0.6, soft(70, 140, 0.9)),
    "body_fall": happening(0.4, 0.7, soft(45, 80, 0.7)),
    "knife_chop": happening(0.25, 0.5, chop(180, 420, 0.5)),
    "wood_chop": happening(0.4, 0.9, chop(90, 220, 1.0)),
    "wood_break": happening(0.7, 1.6, splintered(150, 420)),
    "tree_fall": happening(1.8, 3.5, splintered(70, 140)),
    "bones_crack": happening(0.4, 0.8, splintered(420, 900)),
    "glass_break": happening(1.0, 2.0, broken("glass", 500, 1300)),
    "ceramic_break": happening(0.8, 1.6, broken("ceramic", 350, 900, 0.8)),
    "ice_break": happening(0.7, 1.6, broken("ice", 200, 600, 0.8)),
    "egg_crack": happening(0.3, 0.6, egg),
    "rockfall": happening(1.5, 3.0, rocks),
    "glass_clink": happening(0.6, 1.4, two((0.6, 1.4), *GLASS)),
    "dishes": happening(0.8, 1.8, crockery),
    "coin_drop": happening(0.9, 1.8, coin),
    "keys_jingle": happening(0.6, 1.4, jingling("bar", (2600, 7500), (5, 9), 60, 2.0)),
    "wind_chime": happening(2.0, 4.0, chimes),
    "object_drop": happening(
        0.6, 1.2, dropped((0.35, 0.55), (0.12, 0.25), *WOOD, *PLASTIC, ("plate", "metal", 300, 900, 8, 20))
    ),
    "ball_bounce": happening(0.3, 0.6, ball),
    "ball_hit": happening(0.3, 0.6, ball),
    "bowling": happening(1.0, 1.8, bowling),
    "heart_beat": happening(0.6, 0.9, heart),
    "digging": happening(0.6, 1.2, dig),
    "match_strike": happening(0.8, 1.6, match),
    "fireworks": happening(1.2, 2.5, firework),
    "bass_drum": happening(0.5, 0.9, drumming(45, 75)),
    "tom_drum": happening(0.6, 1.1, drumming(85, 190)),
    "snare_drum": happening(0.35, 0.6, drumming(170, 260, 1.0)),
    "cowbell": happening(0.4, 0.8, struck((0.6, 1.4), ("plate", "metal", 480, 900, 3, 8))),
}  # fmt: skip
