"""Counts by hand, and against PyTorch's own counter on the networks that the packaged model was exported
from."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from edgefoley.bench.graph_file import read_graph
from edgefoley.bench.operations import Work, count, count_run, peak_bytes, work_of
from edgefoley.bench.shapes import propagate
from edgefoley.bench.workload import Pass, Workload
from edgefoley.bundle import open_bundle
from edgefoley.plan import Run
from tests.backends.onnx_files import normal, save


def works(
    tmp_path: Path, graph: str, shapes: dict[str, tuple[int, ...]], **weights: np.ndarray
) -> list[Work]:
    return work_of(one_pass(tmp_path, graph, shapes, **weights))


def one_pass(tmp_path: Path, graph: str, shapes: dict[str, tuple[int, ...]], **weights: np.ndarray) -> Pass:
    read = read_graph(save(tmp_path / "g.onnx", graph, **weights))
    return Pass("g", 1, shapes, read, propagate(read, shapes))


def test_products_by_hand(tmp_path: Path) -> None:
    graph = """g (float[B,T,8] x) => (float[B,T,T] z) {
        y = MatMul(x, w)
        turned = Transpose <perm = [0,2,1]> (y)
        z = MatMul(y, turned)
    }"""
    first, turn, second = works(tmp_path, graph, {"x": (2, 5, 8)}, w=normal(8, 3))
    assert (first.kind, first.shape) == ("matmul", (10, 8, 3))
    assert first.operations == 2 * 2 * 5 * 8 * 3
    assert (first.read, first.written, first.weights) == (4 * (80 + 24), 4 * 30, 4 * 24)
    assert (turn.kind, turn.manner, turn.operations, turn.bytes) == ("move", "turned", 0, 8 * 30)
    assert (second.kind, second.shape, second.operations) == ("product", (2, 5, 3, 5), 2 * 2 * 5 * 3 * 5)


@pytest.mark.parametrize(
    ("attributes", "weight", "kind", "operations"),
    [
        ("kernel_shape = [3,3], pads = [1,1,1,1]", (7, 4, 3, 3), "conv", 2 * 7 * 4 * 9 * 10 * 12),
        ("kernel_shape = [3,3], strides = [2,2]", (7, 4, 3, 3), "conv", 2 * 7 * 4 * 9 * 4 * 5),
        ("kernel_shape = [1,1], group = 2", (6, 2, 1, 1), "conv", 2 * 6 * 2 * 120),
        ("kernel_shape = [3,3], group = 4", (4, 1, 3, 3), "conv_depthwise", 2 * 4 * 9 * 8 * 10),
    ],
)
def test_convolutions_by_hand(
    tmp_path: Path, attributes: str, weight: tuple[int, ...], kind: str, operations: int
) -> None:
    graph = f"g (float[1,4,H,W] x) => (float[a,b,c,d] y) {{ y = Conv <{attributes}> (x, w) }}"
    (work,) = works(tmp_path, graph, {"x": (1, 4, 10, 12)}, w=normal(*weight))
    assert (work.kind, work.operations) == (kind, operations)


def test_what_is_computed_when_the_graph_is_opened_is_free(tmp_path: Path) -> None:
    graph = """g (float[T,4] x) => (float[a] y) {
        wide = Cast <to = 1> (q)
        w = Mul(wide, s)
        z = MatMul(x, w)
        size = Shape(z)
        y = Reshape(z, flat)
    }"""
    q, s = np.ones((4, 6), np.int8), np.ones((1, 6), np.float32)
    found = works(tmp_path, graph, {"x": (3, 4)}, q=q, s=s, flat=np.array([-1]))
    assert [(work.op, work.weights) for work in found] == [("MatMul", 4 * 24)]


def test_integer_layers_are_one_work_each(tmp_path: Path) -> None:
    """Dynamic, as quant.emit writes it; and static between DequantizeLinear."""
    dynamic = """g (float[1,T,8] x) => (float[1,T,6] y) {
        q, a, z = DynamicQuantizeLinear(x)
        i = MatMulInteger(q, w, z)
        f = Cast <to = 1> (i)
        both = Mul(a, s)
        y = Mul(f, both)
    }"""
    w, s = np.ones((8, 6), np.int8), np.ones(6, np.float32)
    found = [work for work in works(tmp_path, dynamic, {"x": (1, 5, 8)}, w=w, s=s) if work.operations]
    assert [(work.kind, work.operations, work.weights) for work in found] == [
        ("matmul_int8", 2 * 5 * 8 * 6, 48)
    ]
    static = """g (float[1,T,8] x) => (float[1,T,6] y)
        <float a = {0.1}, uint8 z = {128}, float b = {0.2}, int8 zero = {0}> {
        q = QuantizeLinear(x, a, z)
        back = DequantizeLinear(q, a, z)
        wide = DequantizeLinear(w, b, zero)
        y = MatMul(back, wide)
    }"""
    found = works(tmp_path, static, {"x": (1, 5, 8)}, w=w)
    assert [(work.op, work.kind) for work in found] == [
        ("QuantizeLinear", "elementwise"), ("MatMul", "matmul_int8"),
    ]  # fmt: skip


def test_living_values_by_hand(tmp_path: Path) -> None:
    """x is not counted; a lives until c is made, b until y; a view takes nothing."""
    graph = """g (float[N] x) => (float[N] y) {
        a = Neg(x)
        b = Abs(a)
        view = Reshape(b, shape)
        c = Add(a, view)
        y = Mul(c, view)
    }"""
    one = one_pass(tmp_path, graph, {"x": (100,)}, shape=np.array([-1]))
    assert peak_bytes(one) == 3 * 400


def test_the_packaged_model_against_pytorch() -> None:
    """Two of its networks, counted by torch.utils.flop_counter at the same shapes: one of products, one of
    convolutions, depthwise ones among them (the file has a few layers more: what the classes are told by)."""
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    from edgefoley.models.text import NANO_TEXT, TextEncoder
    from edgefoley.models.visual import VisualEncoder

    run = Run(Fraction(4), True, (64, 48), 1, 1)
    found = {
        one.component: count(work_of(one)).total
        for one in Workload(open_bundle("nano"), "ort", run, words=8).passes()
    }

    def flops(work) -> int:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            work()
        return counter.get_total_flops()

    text, visual, ones = TextEncoder(NANO_TEXT).eval(), VisualEncoder().eval(), torch.ones(1, 8)
    assert found["text"] == flops(lambda: text(ones.long(), ones))
    eight = torch.zeros(8, 224, 224, 3, dtype=torch.uint8)
    assert found["visual"] == pytest.approx(flops(lambda: visual(eight)), rel=0.005)


def test_a_run_is_the_sum_of_its_passes() -> None:
    bundle = open_bundle("nano")

    def of(steps: int, branches: int):
        return count_run(Workload(bundle, "ort", Run(Fraction(4), True, (64, 48), branches, steps)).passes())

    one, four = of(1, 1), of(4, 1)
    assert four["denoiser"].total == 4 * one["denoiser"].total
    assert four["visual"].total == one["visual"].total
    assert 1.9 < of(1, 2)["denoiser"].total / one["denoiser"].total <= 2  # the second sees no picture
