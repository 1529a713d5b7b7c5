"""A picture of a clip's events: thumbnails, the event curve and the clip's own sound over one time axis.

Layer 3.
"""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np

from edgefoley import media
from edgefoley.canvas import Canvas, Colour, mixed, text_width, ticks
from edgefoley.events import EventList
from edgefoley.timeline import EVENT_RATE
from edgefoley.types import Audio, ByteArray, FloatArray, View

__all__ = ["plot_events"]

_INK: Colour = (30, 34, 42)
_QUIET: Colour = (107, 114, 128)
_RULE: Colour = (222, 226, 232)
_BLUE: Colour = (29, 95, 201)
_RED: Colour = (207, 66, 21)
_GREY: Colour = (229, 226, 216)
_SLATE: Colour = (71, 85, 105)

_LEFT, _RIGHT, _TOP, _GAP = 150, 34, 46, 22
_ROW, _SOUND, _AXIS = 120, 96, 34
_THUMBNAIL = 76  # pixels, about the height of a thumbnail
_WIDTHS = 1400, 6000  # of the time axis: 120 pixels per second within these
_SOUND_RATE = 8000


def plot_events(video: str | Path, found: EventList) -> bytes:
    """A PNG of what ``found`` (times from the video's beginning, with its span and curves, as
    ``api.find_events`` returns it) says about ``video``.

    One over the other: thumbnails; the probability of an event; its strength, one stem per event (paler: less
    confident) over the activity; the video's own sound, if it has any. Likely events are marked through all
    rows. Errors as ``media.read_clip``.
    """
    if found.duration_s is None or found.probability is None or found.activity is None:
        raise ValueError("a list without its span and curves cannot be drawn")
    info = media.probe(video)
    begin = Fraction(found.start_s).limit_denominator(10**6)
    end = min(info.duration, begin + Fraction(found.duration_s).limit_denominator(10**6))
    width = int(min(max(float(end - begin) * 120, _WIDTHS[0]), _WIDTHS[1]))
    pictures = _thumbnails(video, info.size, begin, end, width)
    sound = media.read_audio(video, _SOUND_RATE, begin, end)
    heights = [pictures[0].shape[0], _ROW, _ROW, *([] if sound is None else [_SOUND])]
    tops = [_TOP + sum(heights[:i]) + i * _GAP for i in range(len(heights))]
    bottom = tops[-1] + heights[-1]
    canvas = Canvas(_LEFT + width + _RIGHT, bottom + _AXIS)
    axis = _Axis(canvas, found.start_s, found.duration_s, width)
    axis.draw(tops[1], bottom)
    for k, picture in enumerate(pictures):
        canvas.picture(_LEFT + round(k * width / len(pictures)), tops[0], picture[:, :-2])  # a gap of 2
    for event in found.likely_events:
        x = axis.x(event.time_s)
        canvas.line([(x, tops[1] - 6), (x, bottom)], 1.0, mixed(_RED, 0.35))
    _title(canvas, found, sound)
    _probability_row(axis, tops[1], found.probability)
    _strength_row(axis, tops[2], found)
    if sound is not None:
        _sound_row(axis, tops[3], sound)
    return canvas.png()


class _Axis:
    """Time to pixels, and what every row has."""

    def __init__(self, canvas: Canvas, start: float, seconds: float, width: int) -> None:
        self.canvas, self.start, self.seconds, self.width = canvas, start, seconds, width

    def x(self, time: float) -> float:
        return _LEFT + (time - self.start) / self.seconds * self.width

    def draw(self, top: int, bottom: int) -> None:
        """Ticks and clock under the rows, and thin rules through them."""
        times, step = ticks(self.start, self.start + self.seconds, self.width // 90)
        for time in times:
            x = self.x(time)
            self.canvas.line([(x, top), (x, bottom)], 1.0, _RULE)
            self.canvas.line([(x, bottom + 2), (x, bottom + 7)], 1.4, _QUIET)
            self.canvas.text(x, bottom + 25, _clock(time, step), 11, _INK, "middle")

    def row(self, top: int, height: int, name: str) -> None:
        """Name on the left and the line at the bottom."""
        self.canvas.text(_LEFT - 34, top + height / 2 + 4, name, 10.5, _INK, "right")
        self.canvas.line([(_LEFT, top + height), (_LEFT + self.width, top + height)], 1.4, _QUIET)

    def scale(self, top: int, height: int) -> None:
        """0, 0.5 and 1 with rules."""
        for value, text in ((0, "0"), (0.5, "0.5"), (1, "1")):
            y = top + height * (1 - value)
            if value:
                self.canvas.line([(_LEFT, y), (_LEFT + self.width, y)], 1.0, _RULE)
            self.canvas.text(_LEFT - 7, y + 3.5, text, 8, _QUIET, "right")

    def over(self, curve: FloatArray) -> FloatArray:
        """A 50 Hz curve at every pixel column: the largest value where columns are wider than its places."""
        places = self.seconds * EVENT_RATE / self.width  # per column
        edges = np.arange(self.width + 1) * places
        if places < 1:
            return np.interp(edges[:-1] + places / 2, np.arange(len(curve)), curve).astype(np.float32)
        starts = np.minimum(edges[:-1].astype(int), len(curve) - 1)
        return np.asarray(np.maximum.reduceat(curve, starts), np.float32)


def _title(canvas: Canvas, found: EventList, sound: Audio | None) -> None:
    count, likely = len(found.events), len(found.likely_events)
    words = f"{count} events in {found.duration_s:.2f} s, {likely} of them likely"
    canvas.text(_LEFT, 29, words, 13, _INK)
    if sound is None:
        canvas.text(_LEFT + text_width(words, 13) + 26, 29, "(the video has no sound)", 11, _QUIET)


def _probability_row(axis: _Axis, top: int, probability: FloatArray) -> None:
    axis.scale(top, _ROW)
    values = axis.over(probability)
    heights = top + _ROW * (1 - values)
    axis.canvas.columns(_LEFT, heights, np.full(len(values), top + _ROW), mixed(_BLUE, 0.22))
    axis.canvas.line(np.stack([_LEFT + 0.5 + np.arange(len(values)), heights], 1), 1.8, _BLUE)
    axis.row(top, _ROW, "probability")


def _strength_row(axis: _Axis, top: int, found: EventList) -> None:
    assert found.activity is not None
    axis.scale(top, _ROW)
    values = axis.over(found.activity)
    axis.canvas.columns(_LEFT, top + _ROW * (1 - values), np.full(len(values), top + _ROW), _GREY)
    free = -math.inf
    for event in sorted(found.events, key=lambda event: event.confidence):  # the surest on top
        x, y = axis.x(event.time_s), top + _ROW * (1 - event.strength)
        colour = mixed(_RED, 0.25 + 0.75 * event.confidence)
        axis.canvas.line([(x, top + _ROW), (x, y)], 2.4, colour)
        axis.canvas.dot(x, y, 4.2, colour)
    for event in found.likely_events:
        text = f"{event.time_s:.2f}"
        x, y = axis.x(event.time_s), top + _ROW * (1 - event.strength)
        if x - text_width(text, 8) / 2 > free:
            axis.canvas.text(x, y - 9, text, 8, _RED, "middle")
            free = x + text_width(text, 8) / 2 + 4
    axis.row(top, _ROW, "strength")
    axis.canvas.text(_LEFT - 34, top + _ROW / 2 + 20, "(activity)", 8, _QUIET, "right")


def _sound_row(axis: _Axis, top: int, sound: Audio) -> None:
    """Highest and lowest sample of every column, as loud as the loudest allows; the level inside darker."""
    samples = np.atleast_2d(sound.samples).mean(axis=0)
    starts = np.minimum((np.arange(axis.width) * len(samples)) // axis.width, len(samples) - 1)
    high, low = np.maximum.reduceat(samples, starts), np.minimum.reduceat(samples, starts)
    counts = np.maximum(np.diff(np.append(starts, len(samples))), 1)
    level = np.sqrt(np.add.reduceat(np.square(samples, dtype=np.float64), starts) / counts)
    middle, gain = top + _SOUND / 2, _SOUND / 2 / max(float(np.abs(samples).max()), 1e-6)
    axis.canvas.columns(_LEFT, middle - gain * high - 0.5, middle - gain * low + 0.5, mixed(_SLATE, 0.45))
    axis.canvas.columns(_LEFT, middle - gain * level, middle + gain * level, _SLATE)
    axis.row(top, _SOUND, "sound")


def _thumbnails(
    video: str | Path, size: tuple[int, int], begin: Fraction, end: Fraction, width: int
) -> list[ByteArray]:
    """Pictures side by side over ``width`` pixels, each of the middle of its stretch of time."""
    aspect = Fraction(*size)
    count = max(1, round(width / (_THUMBNAIL * aspect)))
    columns = max(2, math.ceil(Fraction(width, count)))
    rows = min(max(8, round(columns / aspect)), 3 * _THUMBNAIL)
    # Twice as many, of which every second one stands in a middle.
    view = View(2 * count / (end - begin), (rows, columns))
    frames = media.read_clip(video, {"thumbnails": view}, begin, end).views["thumbnails"].frames
    return [frames[min(2 * k + 1, len(frames) - 1)] for k in range(count)]


def _clock(time: float, step: float) -> str:
    """Seconds with the decimals that the step needs; minutes and seconds from the first minute on."""
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if time < 60:
        return f"{time:.{decimals}f} s"
    minutes, seconds = divmod(round(time, decimals), 60)
    return f"{minutes:.0f}:{seconds:0{2 if decimals == 0 else 3 + decimals}.{decimals}f}"
