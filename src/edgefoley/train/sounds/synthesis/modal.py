"""Struck solids: a sum of decaying modes, excited by a contact of finite length.

A body is a list of modes. Where they lie follows from its shape: Euler-Bernoulli bars (1 : 2.756 : 5.404
...), simply supported plates (m^2/a^2 + n^2/b^2), ideal membranes (zeros of Bessel functions), bowls and
bells, strings with stiffness, boxes of material; how fast they die follows from the material: the amplitude
falls with ``a/2 + pi * eta * f + b/2 * (2 pi f)^2`` per second, Rayleigh's two terms and a loss factor
between them. The contact is one raised-cosine pulse of force whose length falls and whose height grows with
the speed as in Hertz's theory (length ~ v^-1/5, height ~ v^6/5), so hard hits are louder and brighter.

Sources: van den Doel & Pai, "The sounds of physical shapes", Presence 7 (1998); Aramaki & Kronland-Martinet,
"Analysis-synthesis of impact sounds by real-time dynamic filtering", IEEE TASLP 14 (2006); Fletcher &
Rossing, "The Physics of Musical Instruments" (1998) for ratios; Chaigne & Doutaut, JASA 101 (1997) for the
contact. Left out: radiation patterns, rooms, nonlinear mode coupling (a gong's is imitated in ``tones``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.random import Generator

from edgefoley.train.sounds.synthesis.noise import noise
from edgefoley.train.sounds.synthesis.sound import RATE, Array, add_at, count

SHAPES: Final = ("bar", "cantilever", "plate", "membrane", "bowl", "bell", "tube", "string", "block")
TOP_HZ: Final = 19_000.0
FREE_BAR: Final = (4.730041, 7.853205, 10.995608)  # roots of cos x cosh x = 1, then (k + 1/2) pi
CANTILEVER: Final = (1.875104, 4.694091, 7.854757)  # roots of cos x cosh x = -1, then (k - 1/2) pi
BELL: Final = (0.5, 1.0, 1.183, 1.506, 2.0, 2.514, 2.662, 3.011, 4.166, 5.433, 6.796, 8.215)
BOWL: Final = (1.0, 2.77, 5.18, 8.16, 11.66, 15.6, 20.0)  # measured on standing bowls


@dataclass(frozen=True)
class Material:
    """speed: of longitudinal waves in m/s; loss: eta, the loss factor; alpha: 1/s, beta: s, Rayleigh's terms;
    contact_ms: length of a contact of middling speed with something hard; grit: level of the contact's noise
    against the ring, 0..1."""

    speed: float
    loss: float
    alpha: float
    beta: float
    contact_ms: float
    grit: float


MATERIALS: Final[dict[str, Material]] = {
    "wood": Material(4000, 0.016, 40, 4e-8, 0.65, 0.25),
    "metal": Material(5100, 0.0007, 5, 4e-10, 0.12, 0.08),
    "glass": Material(5300, 0.0018, 10, 2e-9, 0.10, 0.06),
    "ceramic": Material(4900, 0.0030, 20, 4e-9, 0.13, 0.10),
    "stone": Material(3800, 0.0090, 60, 1e-8, 0.20, 0.40),
    "concrete": Material(3400, 0.0160, 90, 2e-8, 0.30, 0.50),
    "plastic": Material(1900, 0.0350, 60, 2e-8, 0.50, 0.20),
    "rubber": Material(300, 0.1200, 60, 2e-7, 3.00, 0.20),
    "ice": Material(3600, 0.0080, 50, 1e-8, 0.18, 0.35),
    "flesh": Material(200, 0.3000, 150, 5e-7, 5.00, 0.50),
    "earth": Material(400, 0.2500, 120, 3e-7, 4.00, 0.60),
}


@dataclass(frozen=True)
class Body:
    """frequencies (M,) Hz ascending; rates (M,) 1/s, of amplitude; weights (M,): how much a hit at the chosen
    position excites each and how loudly it radiates; material."""

    frequencies: Array
    rates: Array
    weights: Array
    material: Material


def decay_rates(material: Material, frequencies: Array) -> Array:
    """Amplitude decay in 1/s at each frequency (Hz); the level falls by 60 dB in 6.908 / rate seconds."""
    omega = 2 * np.pi * frequencies
    return material.alpha / 2 + np.pi * material.loss * frequencies + material.beta / 2 * omega**2


def ratios(shape: str, number: int, aspect: float = 0.7) -> Array:
    """The lowest ``number`` frequencies of a shape over the lowest one, ascending. ``aspect``: of a plate's
    or block's sides (0..1]. Raises ValueError for an unknown shape."""
    if shape in ("bar", "cantilever"):
        k = np.arange(3, number)
        exact, rest = (FREE_BAR, k + 1.5) if shape == "bar" else (CANTILEVER, k + 0.5)
        found = np.concatenate([exact[:number], rest * np.pi]) ** 2
    elif shape == "plate":
        order = np.arange(1, number + 1)
        found = np.sort(((order[:, None] * aspect) ** 2 + order[None] ** 2).ravel())[:number]
    elif shape == "membrane":
        from scipy.special import jn_zeros

        found = np.sort(np.concatenate([jn_zeros(order, 8) for order in range(14)]))[:number]
    elif shape in ("bowl", "bell"):
        known = np.array(BOWL if shape == "bowl" else BELL)
        beyond = known[-1] * (1 + 0.21 * np.arange(1, max(1, number - len(known)) + 1)) ** 1.1
        found = np.concatenate([known, beyond])[:number]
        return found / (known[1] if shape == "bell" else known[0])  # a bell is named by its prime
    elif shape == "tube":  # bending of a hollow bar, Timoshenko: upper modes fall below the thin bar's
        thin = ratios("bar", number)
        return thin / np.sqrt(1 + 0.012 * (thin - 1))
    elif shape == "string":
        n = np.arange(1, number + 1)
        found = n * np.sqrt(1 + 4e-4 * n**2)
    elif shape == "block":
        axis = np.arange(0, 9)
        boxes = (axis[:, None, None]) ** 2 + (axis[None, :, None] / aspect) ** 2
        found = np.sort(np.sqrt(boxes + (axis[None, None] / aspect**1.7) ** 2).ravel())[1 : number + 1]
    else:
        raise ValueError(f"unknown shape {shape!r}; known: {', '.join(SHAPES)}")
    return np.asarray(found / found[0], dtype=np.float64)


def bar_pitch(material: Material, length: float, thickness: float) -> float:
    """Lowest frequency in Hz of a free bar: ``length`` and ``thickness`` in metres (Fletcher & Rossing)."""
    return float(FREE_BAR[0] ** 2 / (2 * np.pi) * material.speed * thickness / (np.sqrt(12) * length**2))


def plate_pitch(material: Material, long_side: float, short_side: float, thickness: float) -> float:
    """Lowest frequency in Hz of a simply supported plate, sides and thickness in metres, Poisson's ratio
    0.3."""
    sides = 1 / long_side**2 + 1 / short_side**2
    return float(0.476 * material.speed * thickness * sides)


def body(
    rng: Generator,
    shape: str,
    material: str,
    pitch: float,
    modes: int = 24,
    damping: float = 1.0,
    dense: int = 0,
) -> Body:
    """A body whose lowest mode is at ``pitch`` Hz: ratios of the shape with up to 2 % irregularity, damping
    of the material times ``damping`` (held, resting or mounted things are damped more), a random position of
    the hit (the mode shapes' magnitudes there). Round bodies get pairs of modes that beat slowly. ``dense``:
    further modes of no regular place, as built and mounted things have between and above those of their ideal
    shape; they blur the ring into a broad, short rustle."""
    chosen = MATERIALS[material]
    irregular = 0.0 if shape in ("bell", "bowl", "string") else 0.02
    frequency = pitch * ratios(shape, modes, float(rng.uniform(0.55, 0.98)))
    frequency = frequency * np.exp(
        irregular * rng.standard_normal(len(frequency)) * (frequency > pitch * 1.01)
    )
    if shape in ("bowl", "bell"):  # no round thing is perfectly round: each mode is a pair
        split = 1 + np.exp(rng.uniform(np.log(3e-4), np.log(4e-3), len(frequency)))
        frequency = np.concatenate([frequency, frequency * split])
    frequency = np.sort(frequency[frequency < TOP_HZ])
    if not len(frequency):
        raise ValueError(f"no mode of a {shape} at {pitch} Hz is below {TOP_HZ} Hz")
    place = rng.uniform(0.08, 0.92)
    order = np.arange(1, len(frequency) + 1)
    shape_there = np.abs(np.sin(np.pi * order * place)) * np.abs(
        np.sin(np.pi * (order % 5 + 1) * 0.37 * place)
    )
    weights = (0.12 + shape_there) * np.exp(0.35 * rng.standard_normal(len(frequency)))
    # Low modes of small things radiate badly: 6 dB per octave below about 300 Hz.
    weights = weights * frequency / np.hypot(frequency, 300.0)
    if dense:
        extra = (
            pitch * np.exp(rng.uniform(0.3, np.log(16_000 / pitch), dense)) if pitch < 9000 else frequency[:0]
        )
        level = 0.4 * np.median(weights) * np.exp(0.6 * rng.standard_normal(len(extra)))
        frequency, weights = np.concatenate([frequency, extra]), np.concatenate([weights, level])
        more = np.concatenate([np.ones(len(weights) - len(extra)), rng.uniform(1.5, 4, len(extra))])
    else:
        more = np.ones(len(weights))
    rates = (
        decay_rates(chosen, frequency) * damping * more * np.exp(0.2 * rng.standard_normal(len(frequency)))
    )
    return Body(frequency, rates, weights, chosen)


def elsewhere(rng: Generator, target: Body, spread: float = 0.5) -> Body:
    """The same body hit at another spot: each mode's weight times exp(``spread`` * normal)."""
    weights = target.weights * np.exp(spread * rng.standard_normal(len(target.weights)))
    return Body(target.frequencies, target.rates, weights, target.material)


def decaying(frequency: float, rate: float, samples: int) -> Array:
    """``exp(-rate t) sin(2 pi frequency t)``, (samples,), by products of two short exponentials."""
    pole = (-rate + 2j * np.pi * frequency) / RATE
    fine = 256
    coarse = -(-samples // fine)
    outer = np.exp(pole * fine * np.arange(coarse))[:, None] * np.exp(pole * np.arange(fine))[None]
    return np.asarray(outer.imag.reshape(-1)[:samples])


def ring(frequencies: Array, rates: Array, weights: Array, samples: int) -> Array:
    """The sum of the modes' decays, (samples,); each is computed until it has fallen by 80 dB."""
    out = np.zeros(samples)
    for f, rate, weight in zip(frequencies.tolist(), rates.tolist(), weights.tolist(), strict=True):
        long = min(samples, int(9.2 / max(rate, 1e-6) * RATE) + 1)
        out[:long] += weight * decaying(f, rate, long)
    return out


def speed_of(strength: float) -> float:
    """Impact speed in m/s: 0.05 at strength 0, 6 at 1, even steps of the logarithm (Weber's law)."""
    return float(0.05 * 120 ** np.clip(strength, 0, 1))


def contact_samples(contact_ms: float, strength: float) -> int:
    """Length of a contact that takes ``contact_ms`` at strength 0.5, by Hertz's v^-1/5, widened to v^-0.4:
    real strikers (fingers, felt, wood) stiffen when compressed more than elastic spheres do."""
    speed = speed_of(strength) / speed_of(0.5)
    return max(2, round(contact_ms * 1e-3 * speed**-0.4 * RATE))


def pulse(samples: int) -> Array:
    """A raised-cosine pulse of force with sum 1."""
    shape = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(samples) + 0.5) / samples)
    return np.asarray(shape / shape.sum())


def excite(response: Array, contact: Array) -> Array:
    """``response`` (samples,) driven by the force ``contact``, the same length."""
    from scipy.signal import oaconvolve

    if len(contact) <= 64:
        return np.convolve(response, contact)[: len(response)]
    return np.asarray(oaconvolve(response, contact)[: len(response)])


def hit(rng: Generator, target: Body, strength: float, seconds: float, softness: float = 1.0) -> Array:
    """One hit on ``target``, (samples,) float64 beginning at its onset, height ~ v^6/5.

    softness: of the striker, multiplies the length of the contact (1: as hard as the body; felt about 8). The
    contact itself is heard as a burst of noise as long as a few contacts.
    """
    samples = count(seconds)
    width = contact_samples(target.material.contact_ms * softness, strength)
    out = excite(ring(target.frequencies, target.rates, target.weights, samples), pulse(width))
    fall = 0.8 * width + 24 + 0.02 * RATE * target.material.grit  # rough materials grind on
    burst = min(samples, int(7 * fall))
    top = min(0.7 * RATE / width, 16_000.0)
    rough = noise(
        rng,
        burst,
        [(min(60, 0.1 * top), -24), (min(250, 0.2 * top), -6), (0.4 * top, 0), (top, -6), (3 * top, -40)],
    )
    rough *= np.exp(-np.arange(burst) / fall) * (1 - np.exp(-np.arange(burst) / 3.0))
    level = target.material.grit * float(np.abs(out).max()) * rng.uniform(0.6, 1.4)
    add_at(out, rough / (float(np.abs(rough).max()) + 1e-12), 0, level)
    return out * speed_of(strength) ** 1.2
