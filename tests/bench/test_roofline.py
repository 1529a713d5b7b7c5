"""Times by hand, kernels that are what they are said to be, and the check on a real network."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from edgefoley.bench import kernel_graphs, kernels
from edgefoley.bench.calibration import REFERENCE, Checked, check, per_cycle, read_calibration
from edgefoley.bench.graph_file import Sketch, read_graph
from edgefoley.bench.kernels import Point
from edgefoley.bench.operations import Work, work_of
from edgefoley.bench.roofline import KEPT, Roofline, kernel_of
from edgefoley.bench.shapes import propagate
from edgefoley.bench.workload import Pass
from edgefoley.bundle import open_bundle
from tests.backends.onnx_files import save

ROOF = Roofline(
    (
        Point("matmul", "MatMul", (64, 64, 64), 1_000_000, 0, 1e-3),  # 1 GOP/s
        Point("matmul", "MatMul", (64, 128, 128), 4_000_000, 0, 1e-3),  # 4 GOP/s
        Point("", "Add", (), 0, 1000, 1e-6),  # 1 GB/s
        Point("", "Add", (), 0, 100_000, 1e-3),  # 0.1 GB/s
    ),
    call=1e-4, node=1e-6, bandwidth=1e9, touch=2e9,
)  # fmt: skip


def work(kind: str, operations: int, moved: int, shape: tuple[int, ...] = (), **more) -> Work:
    return Work(
        more.pop("op", "MatMul"), "n", kind, operations, moved, 0, more.pop("weights", 0), shape, **more
    )


def test_a_measured_kernel_takes_what_it_took() -> None:
    one = work("matmul", 2_000_000, 0, (64, 64, 64), weights=500_000)
    assert ROOF.seconds(one) == pytest.approx(1e-6 + 2e-3 + 0.5e-3)


def test_between_two_kernels_the_rate_is_between() -> None:
    """At equal distance of both, the geometric mean."""
    middle = (64, 64 * math.sqrt(2), 64 * math.sqrt(2))
    assert ROOF.rate("matmul", middle) == pytest.approx(2e9)  # type: ignore[arg-type]


def test_bytes_by_size() -> None:
    for size, speed in ((10, 1e9), (1000, 1e9), (10_000, math.sqrt(1e9 * 1e8)), (10**7, 1e8)):
        assert ROOF.seconds(work("elementwise", 0, size, op="Sub")) == pytest.approx(1e-6 + size / speed)


def test_threads_share_work_and_not_the_starting() -> None:
    one = work("matmul", 1_000_000, 0, (64, 64, 64))
    assert ROOF.seconds(one, 4) == pytest.approx(1e-6 + 1e-3 / 4**0.9)
    moved = work("elementwise", 0, 1000, op="Add")
    assert ROOF.seconds(moved, 4) == pytest.approx(1e-6 + 1e-6 / 4**0.6)


def test_kinds_without_a_kernel_of_their_own() -> None:
    assert ROOF.rate("product", (8, 64, 64, 64)) == pytest.approx(1e9)
    with pytest.raises(KeyError, match="conv"):
        ROOF.rate("conv", (1, 1, 1, 1, 1, 1))


def test_a_graph_is_its_nodes_its_start_and_its_fresh_memory(tmp_path: Path) -> None:
    graph = "g (float[N] x) => (float[N] y) { a = Add(x, x)\n y = Mul(a, x) }"
    read = read_graph(save(tmp_path / "g.onnx", graph))
    for count in (250, KEPT):
        one = Pass("g", 1, {"x": (count,)}, read, propagate(read, {"x": (count,)}))
        fresh = 8 * count / ROOF.touch if 8 * count > KEPT else 0
        nodes = sum(ROOF.seconds(work("elementwise", 0, 12 * count, op="Add")) for _ in range(2))
        assert ROOF.seconds_of(one) == pytest.approx(ROOF.call + nodes + fresh)


def test_how_memory_is_gone_through_decides(tmp_path: Path) -> None:
    graph = """g (float[1,T,4,64] x)
        => (float[a,b,c,d] u, float[e,f,g2,h] v, float[i,j,k,l] w, float[m,n,o,p] z)
        <int64[1] last = {-1}, int64[1] end = {-1000}, int64[1] axis = {3}, int64[1] back = {-1}> {
        u = Transpose <perm = [0,2,1,3]> (x)
        v = Transpose <perm = [0,2,3,1]> (x)
        w = Transpose <perm = [3,1,0,2]> (x)
        z = Slice(x, last, end, axis, back)
    }"""
    read = read_graph(save(tmp_path / "g.onnx", graph))
    one = Pass("g", 1, {"x": (1, 9, 4, 64)}, read, propagate(read, {"x": (1, 9, 4, 64)}))
    assert [kernel_of(node) for node in work_of(one)] == ["Transpose", "Turn", "Scatter", "Step"]


# --- the kernels themselves --------------------------------------------------------------------------------


def counted(sketch: Sketch, tmp_path: Path) -> list[Work]:
    onnx = pytest.importorskip("onnx", reason="the sketches are checked with onnx (extra: dev)")
    onnx.checker.check_model(onnx.load_from_string(sketch.file()), full_check=True)
    path = tmp_path / "sketch.onnx"
    path.write_bytes(sketch.file())
    graph = read_graph(path)
    shapes = {tensor.name: tensor.shape for tensor in sketch.inputs}
    return work_of(Pass("g", 1, shapes, graph, propagate(graph, shapes)))  # type: ignore[arg-type]


def test_products_are_what_they_are_said_to_be(tmp_path: Path) -> None:
    for make, shapes in (
        (kernel_graphs.matmul, kernel_graphs.MATMUL), (kernel_graphs.matmul_int8, kernel_graphs.MATMUL),
        (kernel_graphs.product, kernel_graphs.PRODUCT),
    ):  # fmt: skip
        for shape in shapes:
            if math.prod(shape) > 1 << 26:
                continue  # the same with larger numbers
            sketch, (kind, op, told, operations, _) = make(shape)
            (found,) = [one for one in counted(sketch, tmp_path) if one.operations]
            assert (found.kind, found.op, found.operations) == (kind, op, operations)
            assert math.prod(found.shape) == math.prod(told) and found.shape[-2:] == told[-2:]


def test_convolutions_are_what_they_are_said_to_be(tmp_path: Path) -> None:
    made = [
        *kernel_graphs.convolutions(),
        *map(kernel_graphs.square_conv, (*kernel_graphs.CONV[:5], *kernel_graphs.DEPTHWISE)),
    ]
    for sketch, (kind, op, shape, operations, moved) in made:
        (found,) = counted(sketch, tmp_path)
        assert (found.kind, found.op, found.shape) == (kind, op, shape)
        assert found.operations == operations
        assert found.bytes == pytest.approx(moved, rel=0.05)


def test_moves_move_what_they_are_said_to(tmp_path: Path) -> None:
    for op in kernel_graphs.CHAINED:
        sketch, moved = kernel_graphs.chain(op, 1 << 15, 1)
        (found,) = counted(sketch, tmp_path)
        assert found.bytes == pytest.approx(moved, rel=0.05), op
        assert kernel_of(found) in (op, "SpreadAdd"), op
    for op in kernel_graphs.ALONE:
        sketch, moved = kernel_graphs.alone(op, 1 << 18)
        (found,) = counted(sketch, tmp_path)
        assert found.bytes == pytest.approx(moved, rel=0.05), op
        assert kernel_of(found) == op


def test_measuring_a_kernel() -> None:
    """Twice the rows take longer; the chain's difference is one node."""
    pytest.importorskip("onnxruntime")
    small, large = (kernels._least(kernel_graphs.matmul((rows, 256, 256))[0], 0.02) for rows in (64, 512))
    assert 0 < small < large
    assert kernels.touch(0.01) > 1e7 and kernels.bandwidth(0.01) > 1e8


def test_the_check_measures_every_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the reference of the package, whatever this machine is: measured times are there, and of the
    order that processors have."""
    pytest.importorskip("onnxruntime")
    from edgefoley.bench import calibration

    monkeypatch.setattr(calibration, "CHECKED", Fraction(1))
    roofline = read_calibration(REFERENCE).roofline
    found = check(roofline, open_bundle("nano"), rounds=1)
    names = {one.component.partition(" ")[0] for one in found}
    assert names == {"text", "visual", "sync", "conditioner", "timestep", "denoiser", "decoder"}
    assert all(one.measured > 0 and 0.01 < one.ratio < 100 for one in found)
    assert Checked("m", "text", 2.0, 3.0).ratio == 1.5


@pytest.mark.parametrize(
    ("model", "flags", "cpuinfo", "expected"),
    [
        ("Cortex", {"asimd"}, "CPU part\t: 0xd08\n", (8, 16, 3, 16)),
        ("Cortex", {"asimd", "asimddp"}, "CPU part\t: 0xd05\nCPU part\t: 0xd0b\n", (16, 64, 4, 16)),
        ("?", {"asimd", "asimddp"}, "CPU part : 0xfff\n", (16, 64, 4, 16)),
        ("Apple M1", {"asimd"}, "", (32, 128, 8, 16)),
        ("Intel", {"fma", "avx2"}, "", (32, 43, 4, 32)),
        ("Intel Xeon", {"fma", "avx512f", "avx512_vnni"}, "", (64, 256, 6, 64)),
        ("AMD EPYC", {"fma", "avx512f", "avx512_vnni"}, "", (32, 128, 6, 64)),
    ],
)
def test_cores(model: str, flags: set[str], cpuinfo: str, expected: tuple[int, ...]) -> None:
    assert per_cycle(model, flags, cpuinfo) == expected


def test_random_shapes_have_rates_within_what_was_measured() -> None:
    random = np.random.default_rng(1)
    for _ in range(50):
        shape = tuple(int(2**x) for x in random.uniform(0, 12, 3))
        assert 1e9 * 0.999 <= ROOF.rate("matmul", shape) <= 4e9 * 1.001
