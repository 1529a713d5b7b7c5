"""HTML pages of reports: escaped, alone, and charts whose marks are where their values are."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from edgefoley.pages import Bar, histogram, interval_chart, page, scatter, table, tick_values


def test_everything_is_escaped():
    made = page("<i>a</i>", [table(["<b>"], [["<script>alert(1)</script>", 3]], "&")], "let x = 1;")
    assert "<script>alert" not in made and "<i>a" not in made and "&lt;b&gt;" in made
    parser = HTMLParser()
    parser.feed(made)
    parser.close()


@pytest.mark.parametrize(
    ("low", "high", "most"), [(0, 1, 8), (-0.36, 0.36, 8), (1, 5, 8), (-23.02, -23.0, 6), (0, 100, 5)]
)
def test_ticks_are_round_and_within(low, high, most):
    ticks = tick_values(low, high, most)
    assert 2 <= len(ticks) <= most + 1 and low - 1e-9 <= ticks[0] and ticks[-1] <= high + 1e-9
    step = ticks[1] - ticks[0]
    assert re.fullmatch(r"[125]\.?0*e[-+]\d+", f"{step:.6e}")
    assert all(b - a == pytest.approx(step) for a, b in pairwise(ticks))


def test_a_mean_stands_where_its_value_is():
    chart = interval_chart(
        [Bar("a", 2.0, 1.0, 3.0), Bar("b", 4.0), Bar("c", 9.0)], 0.0, 4.0, "t", marks=(1.0,)
    )
    dots = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', chart)]
    left, right = dots[1] - 560, dots[1]
    assert dots[0] == pytest.approx((left + right) / 2) and dots[2] == right  # beyond the axis: at its end
    whisker = re.search(
        r'<line x1="([\d.]+)" y1="([\d.]+)" x2="([\d.]+)" y2="\2"[^/]*stroke-width="3"', chart
    )
    assert float(whisker[1]) == pytest.approx(left + 140) and float(whisker[3]) == pytest.approx(left + 420)
    assert "a: 2 [1, 3]" in chart and "stroke-dasharray" in chart


def test_bars_and_dots_tell_their_figures():
    bars = histogram([[1, 4], [2, 0]], ["x", "y"], ["1", "2"], "t")
    heights = [float(h) for h in re.findall(r'height="([\d.]+)" fill', bars)]
    assert heights == pytest.approx([32.5, 130.0, 65.0, 0.0]) and "x, 2: 4" in bars
    dots = scatter([("c", 1.0, 2.0), ("d", float("nan"), 1.0)], "t", "A", "B")
    assert dots.count("<circle") == 1 and "c: 1, 2" in dots
    assert scatter([("c", 1.0, 1.0)], "t", "A", "B").count("<circle") == 1
