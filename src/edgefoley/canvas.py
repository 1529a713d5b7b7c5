"""A small drawing surface: areas, lines, dots, pictures and lettering, written as PNG.

There is no drawing library among the runtime's few packages and this package needs few shapes, so they are
computed: everything is anti-aliased by the distance of each pixel's middle to the shape. Letters are strokes
of a round pen on a grid, as a plotter writes: small letters, digits and a few signs.

Coordinates are pixels, x to the right and y down; pixel (0, 0) covers 0 … 1 in both. Colours are (red, green,
blue) 0 … 255.

Layer 1: numpy and standard library.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgefoley.types import ByteArray, FloatArray

Colour = tuple[int, int, int]
Points = npt.NDArray[np.float64]

# Strokes of each sign: pairs of digits, x (0 … 6) and y upwards: 0 below the line, 2 on the line, 6 the
# height of an "x", 8 of a digit. A stroke of one place twice is a dot.
_STROKES = {
    "a": "4536160503123243 4642", "b": "0802 0516364543321203", "c": "4536160503123243",
    "d": "4536160503123243 4842", "e": "04444536160503123243", "f": "38281712 0636",
    "g": "4536160503123243 46413010", "h": "0802 0516364542", "i": "0602 0808", "j": "161100 1818",
    "k": "0802 3604 1532", "l": "08031222", "m": "0602 0516263532 3546566562", "n": "0602 0516364542",
    "o": "163645433212030516", "p": "0600 0516364543321203", "q": "4536160503123243 4640",
    "r": "0602 051636", "s": "45361605143443321203", "t": "18132232 0636", "u": "0603123243 4642",
    "v": "062246", "w": "0612365266", "x": "0642 4602", "y": "0622 46221000", "z": "06460242",
    "0": "183847433212030718", "1": "072822", "2": "07183847460242", "3": "07183847463525 354443321203",
    "4": "32380444", "5": "480805354443321203", "6": "473818070312324344351504", "7": "084812",
    "8": "183847463515060718 1504031232434435", "9": "031232434738180706153546",
    ".": "0202", ",": "0201", ":": "0202 0505", "-": "0535", "(": "28171322", ")": "08171302", "/": "0248",
    " ": "",
}  # fmt: skip
_GLYPHS: dict[str, list[Points]] = {
    sign: [np.array([int(digit) for digit in stroke], float).reshape(-1, 2) for stroke in strokes.split()]
    for sign, strokes in _STROKES.items()
}
_GAP, _SPACE = 1.9, 2.6  # between letters and of a space, in units of the grid


class Canvas:
    """``pixels`` (height, width, 3) float32, 0 … 255, white at first."""

    def __init__(self, width: int, height: int) -> None:
        self.pixels: FloatArray = np.full((height, width, 3), 255, dtype=np.float32)

    def area(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        """A filled rectangle; borders between pixels are anti-aliased."""
        rows = _covered(y, y + height, self.pixels.shape[0])
        columns = _covered(x, x + width, self.pixels.shape[1])
        self._paint(slice(None), slice(None), rows[:, None] * columns[None], colour)

    def columns(self, x: int, tops: npt.ArrayLike, bottoms: npt.ArrayLike, colour: Colour) -> None:
        """One vertical bar per pixel column from ``x`` on, between ``tops`` and ``bottoms`` (n,)."""
        low, high = np.asarray(bottoms, np.float64), np.asarray(tops, np.float64)
        place = np.arange(self.pixels.shape[0])[:, None]
        cover = np.clip(np.minimum(place + 1, low) - np.maximum(place, high), 0, 1)
        self._paint(slice(None), slice(x, x + len(low)), cover, colour)

    def line(self, points: npt.ArrayLike, width: float, colour: Colour) -> None:
        """A line through ``points`` (n, 2) with round joints and ends."""
        path = np.asarray(points, np.float64).reshape(-1, 2)
        if not len(path):
            return
        reach = width / 2 + 1
        x0, y0 = np.maximum(np.floor(path.min(0) - reach), 0).astype(int)
        x1, y1 = np.ceil(path.max(0) + reach).astype(int)
        rows, columns = slice(y0, min(y1, self.pixels.shape[0])), slice(x0, min(x1, self.pixels.shape[1]))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return
        nearest = np.full((rows.stop - rows.start, columns.stop - columns.start), np.inf)
        for begin, end in pairwise(path) if len(path) > 1 else [(path[0], path[0])]:
            _approach(nearest, begin - (columns.start, rows.start), end - (columns.start, rows.start), reach)
        self._paint(rows, columns, np.clip(width / 2 + 0.5 - nearest, 0, 1), colour)

    def dot(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """A filled circle."""
        self.line([(x, y)], 2 * radius, colour)

    def picture(self, x: int, y: int, picture: ByteArray) -> None:
        """Copy RGB ``picture`` (h, w, 3) uint8, cut where it does not fit."""
        target = self.pixels[y : y + picture.shape[0], x : x + picture.shape[1]]
        target[:] = picture[: target.shape[0], : target.shape[1]]

    def text(
        self, x: float, y: float, text: str, size: float, colour: Colour,
        anchor: Literal["left", "middle", "right"] = "left",
    ) -> None:  # fmt: skip
        """Write on the line ``y``, digits ``size`` pixels high. Raises KeyError for a sign that there is
        not."""
        x -= {"left": 0.0, "middle": 0.5, "right": 1.0}[anchor] * text_width(text, size)
        unit = size / 6
        for sign in text:
            for stroke in _GLYPHS[sign]:
                self.line(np.array([x, y]) + (stroke - (0, 2)) * (unit, -unit), size / 6.5, colour)
            x += _advance(sign) * unit

    def png(self) -> bytes:
        """The picture as a PNG file (8 bit RGB)."""
        height, width, _ = self.pixels.shape
        rows = np.clip(np.rint(self.pixels), 0, 255).astype(np.uint8).reshape(height, -1)
        data = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1)  # filter 0 before each row
        head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        parts = (b"IHDR", head), (b"IDAT", zlib.compress(data.tobytes(), 6)), (b"IEND", b"")
        return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, body) for name, body in parts)

    def _paint(self, rows: slice, columns: slice, cover: npt.NDArray, colour: Colour) -> None:
        target = self.pixels[rows, columns]
        target += cover[..., None].astype(np.float32) * (np.array(colour, np.float32) - target)


def text_width(text: str, size: float) -> float:
    """Pixels from the first letter's left to the last one's right."""
    return (sum(map(_advance, text)) - _GAP) * size / 6 if text else 0.0


def mixed(colour: Colour, share: float) -> Colour:
    """``colour`` with white: share 1 all colour, 0 white."""
    red, green, blue = (round(255 + (part - 255) * share) for part in colour)
    return red, green, blue


def ticks(start: float, stop: float, most: int) -> tuple[Sequence[float], float]:
    """Round numbers within start … stop, at most ``most`` + 1 of them, and the step between (1, 2 or 5 times
    a power of ten up to 5, then 10, 15, 30, 60, … seconds as clocks have)."""
    steps = [0.001 * 10**k * m for k in range(4) for m in (1, 2, 5)] + [10, 15, 30, 60, 120, 300, 600, 1800]
    step = next((step for step in steps if (stop - start) / step <= most), 3600.0)
    first, last = int(np.ceil(start / step - 1e-9)), int(np.floor(stop / step + 1e-9))
    return [k * step for k in range(first, last + 1)], step


def _advance(sign: str) -> float:
    strokes = _GLYPHS[sign]
    return (max(float(s[:, 0].max()) for s in strokes) if strokes else _SPACE) + _GAP


def _covered(begin: float, end: float, count: int) -> npt.NDArray:
    place = np.arange(count)
    return np.clip(np.minimum(place + 1, end) - np.maximum(place, begin), 0, 1)


def _approach(nearest: npt.NDArray, begin: Points, end: Points, reach: float) -> None:
    """Lower ``nearest`` (distances of pixel middles) to the distance from the segment where that is less."""
    x0, y0 = np.maximum(np.floor(np.minimum(begin, end) - reach), 0).astype(int)
    x1, y1 = np.ceil(np.maximum(begin, end) + reach).astype(int)
    part = nearest[y0:y1, x0:x1]
    y, x = np.mgrid[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]] + 0.5
    along = end - begin
    share = ((x - begin[0]) * along[0] + (y - begin[1]) * along[1]) / max(float(along @ along), 1e-12)
    share = np.clip(share, 0, 1)
    distance = np.hypot(x - begin[0] - share * along[0], y - begin[1] - share * along[1])
    np.minimum(part, distance, out=part)


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
