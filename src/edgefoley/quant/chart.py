"""A picture of a sensitivity report: one bar per module and layer, the most sensitive on top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from edgefoley.canvas import Canvas, Colour, mixed, text_width, ticks
from edgefoley.quant.sensitivity import Report, Row, decibels

_INK: Final[Colour] = (30, 34, 42)
_QUIET: Final[Colour] = (107, 114, 128)
_RULE: Final[Colour] = (222, 226, 232)
_BLUE: Final[Colour] = (29, 95, 201)
_RED: Final[Colour] = (207, 66, 21)
_ROW, _SIZE, _WIDTH, _RIGHT, _HEAD, _AXIS = 19, 8.5, 620, 150, 40, 40
_SIGNS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.,:-()/ ")


def plot_sensitivity(report: Report) -> bytes:
    """A PNG: bars from 0 dB to the mean SQNR when only that unit is quantised (short bars: sensitive), a mark
    at the least, and the bytes saved in kB behind them. Exact units have a bar over the whole width."""
    sections = [
        (name, rows) for name, rows in (("modules", report.modules), ("layers", report.layers)) if rows
    ]
    names = [lettered(row.unit.name) for _, rows in sections for row in rows]
    left = int(max(text_width(name, _SIZE) for name in names)) + 40
    height = _HEAD + sum(_HEAD + _ROW * len(rows) + _AXIS for _, rows in sections)
    canvas = Canvas(left + _WIDTH + _RIGHT, height)
    title = f"{report.component}, {report.recipe}: sqnr when only that is quantised; bar: mean, mark: least"
    canvas.text(24, 27, lettered(title), 12, _INK)
    finite = [row.sqnr["mean"] for _, rows in sections for row in rows if row.sqnr["mean"] is not None]
    most = max([10.0, *finite]) * 1.05
    top = _HEAD
    for name, rows in sections:
        _section(canvas, name, rows, (left, top + _HEAD), most)
        top += _HEAD + _ROW * len(rows) + _AXIS
    return canvas.png()


def lettered(text: str) -> str:
    """``text`` in the signs that a Canvas has."""
    return "".join(sign if sign in _SIGNS else "-" for sign in text.lower())


def _section(canvas: Canvas, name: str, rows: Sequence[Row], corner: tuple[int, int], most: float) -> None:
    left, top = corner
    bottom = top + _ROW * len(rows)
    canvas.text(left, top - 10, name, 11, _INK)
    canvas.text(left + _WIDTH + 16, top - 10, "mean db, kb saved", _SIZE, _QUIET)
    for value in ticks(0, most, 8)[0]:
        x = left + value / most * _WIDTH
        canvas.line([(x, top), (x, bottom)], 1.0, _RULE)
        canvas.text(x, bottom + 18, f"{value:.0f}", _SIZE, _QUIET, "middle")
    for index, row in enumerate(rows):
        y = top + index * _ROW
        mean, least = row.sqnr["mean"], row.sqnr["least"]
        width = _WIDTH * (1.0 if mean is None else max(mean, 0) / most)
        canvas.text(left - 10, y + 13, lettered(row.unit.name), _SIZE, _INK, "right")
        canvas.area(left, y + 4, width, _ROW - 8, mixed(_BLUE, 0.6))
        if mean is not None and least is not None:
            x = left + _WIDTH * max(least, 0) / most
            canvas.line([(x, y + 3), (x, y + _ROW - 3)], 2.0, _RED)
        figures = f"{decibels(mean)}, {row.saved / 1e3:.0f}"
        canvas.text(left + _WIDTH + 16, y + 13, figures, _SIZE, _INK)
