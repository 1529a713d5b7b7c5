"""Memory counted from graphs: by hand, and against what exporting counted in another way."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from edgefoley.bench.graph_file import read_graph
from edgefoley.bench.needs import longest_clip, weights_of, with_needs
from edgefoley.bench.shapes import propagate
from edgefoley.bench.workload import Pass
from edgefoley.bundle import Bundle, open_bundle
from edgefoley.plan import Run, interpolated, plans, states_its_needs
from tests.backends.onnx_files import normal, save


def test_weights_count_as_the_engine_holds_them(tmp_path: Path) -> None:
    graph = """g (float[T,4] x) => (float[T,6] y) {
        wide = Cast <to = 1> (stored)
        w = Mul(wide, s)
        a = MatMul(x, w)
        q, qs, qz = DynamicQuantizeLinear(a)
        i = MatMulInteger(q, kept, qz)
        f = Cast <to = 1> (i)
        b = Mul(f, qs)
        y = Add(b, bias)
    }"""
    weights = {"stored": np.ones((4, 5), np.int8), "s": np.ones((1, 5), np.float32),
               "kept": np.ones((5, 6), np.int8), "bias": normal(6)}  # fmt: skip
    read = read_graph(save(tmp_path / "g.onnx", graph, **weights))
    one = Pass("g", 1, {"x": (3, 4)}, read, propagate(read, {"x": (3, 4)}))
    assert weights_of(one) == {"fp32": 20 + 6, "int8": 30}


def test_the_packaged_model_gets_needs_and_plans() -> None:
    bundle = open_bundle("nano")
    counted = with_needs(bundle, "ort")
    assert states_its_needs(counted) and with_needs(counted, "ort") is counted
    run = Run(Fraction(10), True, (1280, 720), 2, 12)
    open_all, staged = list(plans(counted, "ort", run))[:2]
    assert 250e6 < staged.peak < open_all.peak < 700e6
    tables = {name: part.attributes["activations"] for name, part in counted.components.items()}
    assert all(low[1] <= high[1] for table in tables.values() for low, high in pairwise(table))


def test_the_longest_clip_just_fits() -> None:
    bundle = with_needs(open_bundle("nano"), "ort")
    run, limit = Run(Fraction(10), True, (1280, 720), 2, 12), 600_000_000

    def least(seconds: int) -> int:
        return min(plan.peak for plan in plans(bundle, "ort", replace(run, duration=Fraction(seconds))))

    found = longest_clip(bundle, "ort", run, limit)
    assert found is not None and least(found) <= limit < least(found + 1)
    assert longest_clip(bundle, "ort", run, 1_000_000) is None
    assert longest_clip(bundle, "ort", run, 10**12, most=60) == 60


def test_against_the_exporters_own_count(tiny_bundle: Path) -> None:
    """Exporting counts with ONNX's inference over formulas of the axes; here shapes are followed by
    number."""
    bundle = open_bundle(tiny_bundle)
    counted = with_needs(_silent(bundle), "ort")
    for name, component in bundle.components.items():
        if component.parts:
            continue
        stated, mine = component.attributes, counted.components[name].attributes
        assert sum(mine["weights"].values()) == pytest.approx(sum(stated["weights"].values()), rel=0.01)
        if name in ("text", "conditioner"):
            continue  # stated for the longest prompt, counted for a short one
        for length, size in mine["activations"]:
            if length >= stated["activations"][0][0]:
                assert size == pytest.approx(interpolated(stated["activations"], length), rel=0.2), name


def _silent(bundle: Bundle) -> Bundle:
    """The bundle without what it states."""
    components = {
        name: replace(
            component,
            attributes={k: v for k, v in component.attributes.items() if k not in ("weights", "activations")},
        )
        for name, component in bundle.components.items()
    }
    return replace(bundle, components=components)
