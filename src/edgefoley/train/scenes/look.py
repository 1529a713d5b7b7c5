"""How rendered scenes look, whichever engine draws them: colours, surfaces, backdrops.

Everything is procedural and drawn from the generator that is passed, so no picture file is shipped;
photographs join where a process has opened them (``scenes.photos``). OpenCV is a development dependency: only
training imports this file.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from edgefoley.train.scenes import photos
from edgefoley.train.scenes.motion import Rng, pick

# Shares of textures and of backdrops that are taken from photographs, where there are any.
PHOTO_TEXTURES, PHOTO_BACKDROPS = 0.4, 0.75

Image = NDArray[np.uint8]
Values = NDArray[np.float32]


def palette(rng: Rng, n: int) -> Image:
    """n RGB colours (n, 3) uint8 that go together (analogous, complementary, triadic, one hue, earth, grays)
    or clash."""
    scheme = pick(rng, "analogous", "complementary", "triadic", "single", "earth", "gray", "clash", "clash")
    hue = float(rng.uniform(0, 180))
    spread = {"analogous": 12.0, "single": 3.0, "complementary": 6.0, "triadic": 6.0}.get(scheme, 0.0)
    steps = {"complementary": (0.0, 90.0), "triadic": (0.0, 60.0, 120.0)}.get(scheme, (0.0,))
    hues = hue + rng.choice(steps, n) + rng.normal(0, spread, n)
    full = float(rng.uniform(0.25, 1.0))
    saturation = 255 * full * rng.uniform(0.3, 1.0, n)
    value = rng.uniform(25, 255, n)
    if scheme == "earth":
        hues, saturation = rng.uniform(5, 40, n), rng.uniform(30, 150, n)
    elif scheme == "gray":
        saturation = rng.uniform(0, 25, n)
    elif scheme == "clash":
        hues = rng.uniform(0, 180, n)
    hsv = np.stack([hues % 180, saturation, value], 1)[None].astype(np.uint8)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0], np.uint8)


def noise_image(rng: Rng, size: int) -> Values:
    """Multi-octave noise of about -1..1, (size, size)."""
    out = np.zeros((size, size), np.float32)
    fall = rng.uniform(0.35, 0.9)
    for octave in range(int(rng.integers(2, 7))):
        cells = min(size, 2 << octave)
        shape = (cells, max(2, int(cells * rng.uniform(0.4, 1.0))))
        grid = rng.uniform(-1, 1, shape).astype(np.float32)
        out += cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC) * np.float32(fall**octave)
    return (out / (np.abs(out).max() + 1e-6)).astype(np.float32)


def _axes(rng: Rng, size: int) -> tuple[Values, Values]:
    """Turned coordinates, both (size, size), about -1..1."""
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    angle = float(rng.uniform(0, math.pi)) if rng.random() < 0.5 else 0.0
    c, s = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    return c * ramp[None] + s * ramp[:, None], c * ramp[:, None] - s * ramp[None]


def _stripes(rng: Rng, size: int) -> Values:
    x, _ = _axes(rng, size)
    wave = np.sin(np.float32(rng.uniform(4, 40)) * x + np.float32(rng.uniform(0, 6)))
    return np.sign(wave) if rng.random() < 0.5 else wave


def _checks(rng: Rng, size: int) -> Values:
    x, y = _axes(rng, size)
    rate = np.float32(rng.uniform(4, 25))
    return np.sign(np.sin(rate * x) * np.sin(rate * y))


def _wood(rng: Rng, size: int) -> Values:
    x, y = _axes(rng, size)
    warp = np.float32(rng.uniform(0.05, 0.3)) * noise_image(rng, size)
    rings = np.sin(np.float32(rng.uniform(15, 60)) * (y + warp + np.float32(rng.uniform(0, 0.3)) * x * x))
    planks = np.abs((np.float32(rng.uniform(1.5, 5)) * y) % 1 - 0.5) > 0.47
    return 0.6 * rings + 0.3 * noise_image(rng, size) - 1.2 * planks * (rng.random() < 0.5)


def _tiles(rng: Rng, size: int) -> Values:
    x, y = _axes(rng, size)
    rate, ratio = float(rng.uniform(1.5, 7)), float(rng.choice((1.0, 1.0, 2.0)))
    row = np.floor(rate * ratio * y)
    column = rate * x + 0.5 * (row % 2) * (ratio > 1)  # bricks are laid half a length apart
    shades = rng.uniform(-0.6, 0.6, (64, 64)).astype(np.float32)
    face = shades[(row.astype(int)) % 64, np.floor(column).astype(int) % 64]
    joint = (np.abs(column % 1 - 0.5) > 0.46) | (np.abs((rate * ratio * y) % 1 - 0.5) > 0.5 - 0.04 * ratio)
    return np.where(joint, np.float32(rng.choice((-1.0, 1.0))), face * np.float32(rng.uniform(0.1, 1)))


def _speckle(rng: Rng, size: int) -> Values:
    cells = int(rng.integers(size // 4 + 1, size + 1))
    grains = rng.normal(0, 0.5, (cells, cells)).astype(np.float32)
    return np.asarray(cv2.resize(grains, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)


def _weave(rng: Rng, size: int) -> Values:
    x, y = _axes(rng, size)
    a, b = rng.uniform(5, 50, 2).astype(np.float32)
    return 0.5 * np.sin(a * x) + 0.5 * np.sin(b * y) + 0.2 * _speckle(rng, size)


def _gradient(rng: Rng, size: int) -> Values:
    return _axes(rng, size)[0]


def _plain(rng: Rng, size: int) -> Values:
    return 0.08 * noise_image(rng, size)


_SURFACES: dict[str, Callable[[Rng, int], Values]] = {
    "noise": noise_image,
    "stripes": _stripes,
    "checks": _checks,
    "wood": _wood,
    "tiles": _tiles,
    "speckle": _speckle,
    "weave": _weave,
    "gradient": _gradient,
    "plain": _plain,
}


# Two tints that each material's surface runs between, and the pattern on it.
_MATERIALS: dict[str, tuple[tuple[int, int, int], tuple[int, int, int], str]] = {
    "wood": ((120, 80, 45), (205, 165, 110), "wood"),
    "metal": ((90, 95, 105), (205, 208, 215), "gradient"),
    "glass": ((170, 200, 205), (225, 240, 245), "gradient"),
    "ceramic": ((215, 210, 200), (250, 248, 242), "plain"),
    "stone": ((95, 92, 88), (165, 160, 150), "noise"),
    "concrete": ((135, 135, 130), (185, 184, 178), "speckle"),
    "plastic": ((200, 50, 45), (230, 80, 60), "plain"),
    "rubber": ((30, 30, 32), (70, 70, 74), "plain"),
    "cloth": ((80, 90, 150), (150, 150, 195), "weave"),
    "paper": ((225, 220, 205), (250, 248, 240), "plain"),
    "flesh": ((165, 110, 80), (235, 190, 160), "plain"),
    "earth": ((75, 52, 35), (125, 92, 60), "noise"),
    "grass": ((45, 90, 30), (120, 165, 70), "speckle"),
    "gravel": ((100, 96, 90), (180, 172, 160), "speckle"),
    "sand": ((195, 170, 120), (235, 215, 165), "speckle"),
    "snow": ((225, 230, 240), (252, 252, 255), "noise"),
    "leaves": ((110, 70, 25), (190, 140, 50), "speckle"),
    "ice": ((180, 210, 230), (235, 246, 252), "noise"),
    "water": ((40, 85, 125), (120, 170, 195), "noise"),
}


def tint(rng: Rng, material: str) -> Image:
    """One RGB colour (3,) uint8 of a material ("": any colour); wood, metal, plastic and cloth are often
    painted, skin runs from dark to pale or is gloved."""
    if not material or (material in ("wood", "metal", "plastic", "cloth", "rubber") and rng.random() < 0.35):
        return palette(rng, 1)[0]
    low, high, _ = _MATERIALS[material]
    shade = np.array(low) + rng.random() * (np.array(high, float) - np.array(low))
    if material == "flesh":
        shade *= rng.uniform(0.4, 1.1)
    return np.clip(shade + rng.normal(0, 6, 3), 0, 255).astype(np.uint8)


def surface(rng: Rng, material: str, size: int) -> Image:
    """A surface (size, size, 3) uint8 RGB that looks like one of truth.MATERIALS; "" gives any texture."""
    if not material or rng.random() < 0.1:
        return texture(rng, size)
    low, high, kind = _MATERIALS[material]
    colours = np.array([low, high], np.float64)
    if material in ("wood", "metal", "plastic", "cloth", "rubber") and rng.random() < 0.35:
        colours = palette(rng, 2).astype(np.float64)
        colours[1] = colours[0] + 0.25 * (colours[1] - colours[0])
    colours = np.clip(colours * rng.uniform(0.6, 1.15) + rng.normal(0, 8, (1, 3)), 0, 255)
    return _between(colours.astype(np.uint8), np.asarray(_SURFACES[kind](rng, size), np.float32))


def _between(colours: Image, values: Values) -> Image:
    """Values -1..1 to a ramp through the colours (n, 3)."""
    at = np.linspace(0, len(colours) - 1, 256)
    table = np.stack([np.interp(at, np.arange(len(colours)), colours[:, c]) for c in range(3)], 1)
    index = np.clip(127.5 + 127.5 * values, 0, 255).astype(np.uint8)
    return np.asarray(table.astype(np.uint8)[index], np.uint8)


def texture(rng: Rng, size: int) -> Image:
    """A random surface (size, size, 3) uint8 RGB: noise, stripes, checks, wood grain, tiles or bricks,
    speckle, weave, a gradient, plain; two or three colours, any contrast."""
    real = photos.opened()
    if real is not None and rng.random() < PHOTO_TEXTURES:
        return real.view(rng, size, narrow=True)
    kind = pick(rng, *_SURFACES, "plain", "plain", "noise", "clutter")
    if kind == "clutter":
        return _clutter(rng, size, 20)
    colours = palette(rng, int(rng.integers(2, 4)))
    contrast = math.exp(rng.uniform(math.log(0.08), 0.0))
    centre = colours.mean(0)
    colours = (centre + contrast * (colours - centre)).astype(np.uint8)
    values = _SURFACES[kind](rng, size)
    if rng.random() < 0.4:
        values = values + np.float32(rng.uniform(0.1, 0.6)) * noise_image(rng, size)
    return _between(colours, np.asarray(values, np.float32))


def _clutter(rng: Rng, size: int, most: int) -> Image:
    """Overlapping rectangles, polygons, discs, lines and words."""
    colours = palette(rng, 9)
    image = np.full((size, size, 3), colours[0], np.uint8)
    for _ in range(int(rng.integers(4, most + 1))):
        x, y, r = rng.uniform(0, size), rng.uniform(0, size), math.exp(rng.uniform(1.0, math.log(size / 2.5)))
        shade = tuple(int(c) for c in colours[int(rng.integers(1, 9))])
        what, at = int(rng.integers(6)), (int(x), int(y))
        if what == 0:
            word = "".join(chr(c) for c in rng.integers(48, 122, int(rng.integers(2, 10))))
            scale = float(rng.uniform(0.25, 1.0))
            cv2.putText(image, word, at, cv2.FONT_HERSHEY_SIMPLEX, scale, shade, 1, cv2.LINE_AA)
        elif what == 1:
            end = (int(x + rng.normal(0, r)), int(y + rng.normal(0, r)))
            cv2.line(image, at, end, shade, int(rng.integers(1, 6)), cv2.LINE_AA)
        elif what == 2:
            cv2.circle(image, at, int(0.6 * r), shade, -1, cv2.LINE_AA)
        elif what == 3:
            points = np.stack([x + rng.normal(0, 0.6 * r, 5), y + rng.normal(0, 0.6 * r, 5)], 1)
            cv2.fillPoly(image, [points.astype(np.int32)], shade, cv2.LINE_AA)
        else:
            w, h = int(r * rng.random()), int(r * rng.random())
            cv2.rectangle(image, (at[0] - w, at[1] - h), (at[0] + w, at[1] + h), shade, -1)
    return image


def _room(rng: Rng, size: int) -> Image:
    """A wall over a floor or table, sometimes a side wall, pictures and shelves on it."""
    image = texture(rng, size)
    level = int(size * rng.uniform(0.3, 0.8))
    floor = texture(rng, size)
    tilt = float(rng.uniform(0.1, 0.6)) * size  # the floor's texture narrows towards the wall
    corners = np.array([[0, 0], [size, 0], [size, size], [0, size]], np.float32)
    seen = np.array([[0, level], [size, level], [size + tilt, size], [-tilt, size]], np.float32)
    warped = cv2.warpPerspective(
        floor, cv2.getPerspectiveTransform(corners, seen), (size, size), borderMode=cv2.BORDER_REFLECT_101
    )
    image[level:] = warped[level:]
    if rng.random() < 0.4:
        edge = int(size * rng.uniform(0.1, 0.4))
        image[:level, :edge] = (image[:level, :edge] * 0.75).astype(np.uint8)
    for _ in range(int(rng.integers(0, 4))):
        w, h = (int(size * v) for v in rng.uniform(0.06, 0.3, 2))
        x, y = int(rng.uniform(0, size - w)), int(rng.uniform(0, max(1, level - h)))
        patch = texture(rng, max(w, h))[:h, :w]
        image[y : y + h, x : x + w] = patch
        frame = tuple(int(c) for c in palette(rng, 1)[0])
        cv2.rectangle(image, (x, y), (x + w, y + h), frame, int(rng.integers(1, 4)))
    return image


def _landscape(rng: Rng, size: int) -> Image:
    """Sky, hills or roofs, and ground."""
    sky = np.array(
        [[200, 220, 250], [90, 140, 220], [240, 190, 150], [120, 125, 135], [15, 20, 45]], np.uint8
    )
    colours = sky[rng.choice(5, 2, replace=False)]
    ramp = np.repeat(np.linspace(-1, 1, size, dtype=np.float32)[:, None], size, 1)
    image = _between(colours, ramp + np.float32(rng.uniform(0, 0.4)) * noise_image(rng, size))
    ground, rows = texture(rng, size), np.arange(size)[:, None]
    horizon = rng.uniform(0.3, 0.75) * size
    for layer in range(int(rng.integers(1, 4))):
        steps = int(rng.integers(3, 14))
        heights = rng.uniform(-0.16, 0.06, steps).astype(np.float32)[None] * size
        how = cv2.INTER_CUBIC if rng.random() < 0.6 else cv2.INTER_NEAREST
        edge = horizon + 0.06 * size * layer + cv2.resize(heights, (size, 1), interpolation=how)
        shade = palette(rng, 1)[0] * 0.5 + np.array([40, 70, 40])
        image = np.where((rows > edge)[..., None], shade.astype(np.uint8), image)
    low = np.array([60, 110, 50]) if rng.random() < 0.5 else np.array([130, 115, 95])
    mixed = (0.5 * ground + 0.5 * low).astype(np.uint8)
    return np.where((rows > horizon + 0.1 * size)[..., None], mixed, image).astype(np.uint8)


def backdrop(rng: Rng, size: int) -> Image:
    """A background (size, size, 3) uint8 RGB: a plain gradient or surface, a room with wall and floor,
    clutter, a landscape; at times out of focus."""
    kind = pick(
        rng, "surface", "surface", "gradient", "room", "room", "room", "clutter", "landscape", "landscape"
    )
    real = photos.opened()
    if real is not None and rng.random() < PHOTO_BACKDROPS:
        image = real.view(rng, size)
    elif kind == "surface":
        image = texture(rng, size)
    elif kind == "gradient":
        image = _between(palette(rng, 2), _gradient(rng, size))
    elif kind == "room":
        image = _room(rng, size)
    elif kind == "clutter":
        image = _clutter(rng, size, 40)
    else:
        image = _landscape(rng, size)
    if rng.random() < 0.2:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.006, 0.03)) * size), np.uint8)
    if rng.random() < 0.5:  # light falls off across the scene
        x, y = _axes(rng, size)
        light = 1 - np.float32(rng.uniform(0.1, 0.5)) * (0.5 + 0.5 * x) - np.float32(0.1) * y * y
        image = np.clip(image * light[..., None], 0, 255).astype(np.uint8)
    return np.ascontiguousarray(image, np.uint8)
