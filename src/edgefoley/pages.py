"""HTML pages that stand alone: one file's style for all reports, tables, and charts drawn as SVG.

Nothing is fetched: no fonts, scripts or pictures from elsewhere. Charts carry their figures as text beside
them (title elements), and colours that differ in lightness too.

Layer 1: standard library.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

COLOURS: Final = ("#1d5fc9", "#cf4215", "#4a7a1e", "#7a3fa0", "#8a6d00", "#475569")
_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1e222a;
  max-width: 72rem; margin: 2rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; margin: .75rem 0; } caption { text-align: left; color: #5b6472; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #dee2e8; text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; } thead th { color: #5b6472; font-weight: 600; }
svg { display: block; max-width: 100%; height: auto; margin: .75rem 0; }
video, audio { max-width: 100%; } figure { margin: 0; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; }
.note { color: #5b6472; } button { font: inherit; }
:focus-visible { outline: 3px solid #f0a000; outline-offset: 2px; }
"""


def page(title: str, body: Sequence[str], script: str = "") -> str:
    """A whole document. ``body``: ready HTML; ``title`` is escaped here."""
    ending = f"<script>{script}</script>" if script else ""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{_STYLE}</style></head>\n<body><h1>{text(title)}</h1>\n"
        + "\n".join(body)
        + f"\n{ending}</body></html>\n"
    )


def text(value: object) -> str:
    """Escaped for HTML, quotes too."""
    return html.escape(str(value))


def table(head: Sequence[str], rows: Sequence[Sequence[object]], caption: str = "") -> str:
    """A table; every cell is escaped."""
    top = f"<caption>{text(caption)}</caption>" if caption else ""
    names = "".join(f'<th scope="col">{text(name)}</th>' for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{top}<thead><tr>{names}</tr></thead><tbody>{lines}</tbody></table>"


@dataclass(frozen=True)
class Bar:
    """A row of ``interval_chart``: a mean, and the ends of its interval where there is one."""

    label: str
    mean: float
    low: float | None = None
    high: float | None = None
    colour: int = 0


def interval_chart(
    bars: Sequence[Bar], low: float, high: float, title: str, marks: Sequence[float] = ()
) -> str:
    """A dot with a whisker per row over an axis from ``low`` to ``high``; ``marks``: dashed lines, as zero or
    a margin."""
    left, width, row, top = 210.0, 560.0, 30.0, 34.0
    bottom = top + row * len(bars)

    def x(value: float) -> float:
        return left + (min(max(value, low), high) - low) / (high - low) * width

    parts = [words(0, 16, title, weight="600")]
    parts += _axis(low, high, x, top, bottom)
    parts += [line(x(m), top - 4, x(m), bottom, "#5b6472", dashes="5 4") for m in marks]
    for index, bar in enumerate(bars):
        y, colour = top + row * (index + 0.5), COLOURS[bar.colour % len(COLOURS)]
        told = f"{bar.label}: {bar.mean:.3g}"
        shapes = [words(left - 12, y + 5, bar.label, anchor="end")]
        if bar.low is not None and bar.high is not None:
            told += f" [{bar.low:.3g}, {bar.high:.3g}]"
            shapes.append(line(x(bar.low), y, x(bar.high), y, colour, width=3))
            shapes += [line(x(end), y - 6, x(end), y + 6, colour, width=3) for end in (bar.low, bar.high)]
        shapes.append(f'<circle cx="{x(bar.mean):.1f}" cy="{y:.1f}" r="5.5" fill="{colour}"/>')
        parts.append(f"<g><title>{text(told)}</title>{''.join(shapes)}</g>")
    return svg(left + width + 40, bottom + 30, title, parts)


def histogram(
    counts: Sequence[Sequence[int]], names: Sequence[str], grades: Sequence[str], title: str
) -> str:
    """How often each of ``grades`` was given, a group of bars per grade, ``counts[name][grade]``."""
    left, height, top, group = 46.0, 130.0, 34.0 + 20, 26.0 * max(1, len(names)) + 26
    most = max([1, *(count for row in counts for count in row)])
    parts = [words(0, 16, title, weight="600")]
    parts += [words(left + 130 * k, 40, name, fill=COLOURS[k % len(COLOURS)]) for k, name in enumerate(names)]
    for k, row in enumerate(counts):
        for g, count in enumerate(row):
            tall = count / most * height
            x, y = left + g * group + 26 * k, top + height - tall
            told = f"{names[k]}, {grades[g]}: {count}"
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="22" height="{tall:.1f}" '
                f'fill="{COLOURS[k % len(COLOURS)]}"><title>{text(told)}</title></rect>'
            )
    for g, grade in enumerate(grades):
        middle = left + g * group + 13 * len(names) - 2
        parts.append(words(middle, top + height + 18, grade, anchor="middle"))
    parts.append(words(left - 10, top + 10, str(most), anchor="end", fill="#5b6472"))
    parts.append(line(left - 6, top + height, left + group * len(grades), top + height, "#5b6472"))
    return svg(max(left + group * len(grades) + 10, left + 130 * len(names)), top + height + 28, title, parts)


def scatter(points: Sequence[tuple[str, float, float]], title: str, across: str, upwards: str) -> str:
    """One dot per (name, x, y), both axes alike, with the diagonal of equal values."""
    values = [v for _, a, b in points for v in (a, b) if math.isfinite(v)] or [0.0, 1.0]
    low, high = min(values), max(values)
    pad = (high - low) * 0.08 or 0.5
    low, high = low - pad, high + pad
    left, top, size = 70.0, 30.0, 300.0

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * size

    def y(value: float) -> float:
        return top + size - (value - low) / (high - low) * size

    parts = [words(0, 16, title, weight="600"), *_axis(low, high, x, top, top + size)]
    parts.append(line(x(low), y(low), x(high), y(high), "#5b6472", dashes="5 4"))
    for value in tick_values(low, high, 6):
        parts.append(words(left - 8, y(value) + 4, f"{value:g}", anchor="end", fill="#5b6472"))
    for name, a, b in points:
        if math.isfinite(a) and math.isfinite(b):
            told = f"{name}: {a:.3g}, {b:.3g}"
            parts.append(
                f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="5" fill="{COLOURS[0]}" fill-opacity="0.7">'
                f"<title>{text(told)}</title></circle>"
            )
    parts.append(words(left + size / 2, top + size + 40, across, anchor="middle"))
    parts.append(words(left + size + 12, top + 14, f"upwards: {upwards}"))
    return svg(left + size + 190, top + size + 50, title, parts)


def tick_values(low: float, high: float, most: int) -> list[float]:
    """Round numbers within ``low`` … ``high``, at most ``most`` + 1; steps are 1, 2 or 5 times a power of
    ten."""
    unit = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(m * unit for m in (1, 2, 5, 10) if (high - low) / (m * unit) <= most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def _axis(low: float, high: float, x: Callable[[float], float], top: float, bottom: float) -> list[str]:
    parts = []
    for value in tick_values(low, high, 8):
        parts.append(line(x(value), top, x(value), bottom, "#dee2e8"))
        parts.append(words(x(value), bottom + 18, f"{value:g}", anchor="middle", fill="#5b6472"))
    return parts


def svg(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    """A drawing from ready shapes; ``title`` is what a screen reader says of it."""
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" role="img" '
        f'aria-label="{text(title)}" font-family="system-ui, sans-serif" font-size="13">'
        + "".join(parts)
        + "</svg>"
    )


def words(
    x: float, y: float, written: str, anchor: str = "start", fill: str = "#1e222a", weight: str = "400"
) -> str:
    """Text in a drawing, escaped; ``anchor``: which end of it is at ``x``."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}" font-weight="{weight}">'
        f"{text(written)}</text>"
    )


def line(x0: float, y0: float, x1: float, y1: float, colour: str, width: float = 1, dashes: str = "") -> str:
    """A straight line in a drawing."""
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke="{colour}" '
        f'stroke-width="{width:g}"{dashed}/>'
    )
