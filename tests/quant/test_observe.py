"""Ranges and grids, against numbers worked by hand, ONNX's own operators, and brute force."""

from __future__ import annotations

import numpy as np
import pytest

from edgefoley.quant.observe import (
    BINS,
    METHODS,
    SHARES,
    Observer,
    QuantError,
    Range,
    make_grid,
    sqnr_db,
)


def span(low: float, high: float) -> Range:
    return Range(np.array([low]), np.array([high]))


@pytest.mark.parametrize(
    ("low", "high", "kind", "symmetric", "reduced", "scale", "zero"),
    [
        (-1.0, 3.0, "uint8", False, False, 4 / 255, 64),  # 1 / (4 / 255) = 63.75
        (0.0, 6.0, "uint8", False, False, 6 / 255, 0),
        (2.0, 6.0, "uint8", False, False, 6 / 255, 0),  # zero belongs to every range
        (-6.0, -2.0, "uint8", False, False, 6 / 255, 255),
        (-1.0, 3.0, "int8", False, False, 4 / 255, -64),  # -128 + 63.75 = -64.25
        (-1.0, 3.0, "int8", True, False, 3 / 127, 0),
        (-1.0, 3.0, "uint8", True, False, 3 / 127, 128),
        (-1.0, 3.0, "int8", True, True, 3 / 64, 0),
        (-1.0, 3.0, "uint8", False, True, 4 / 127, 32),  # 31.75
        (-1.0, 3.0, "int4", True, False, 3 / 7, 0),
        (-1.0, 3.0, "uint4", False, False, 4 / 15, 4),  # 3.75
        (0.0, 0.0, "uint8", False, False, 1.0, 0),
        (0.0, 0.0, "int8", True, False, 1.0, 0),
    ],
)
def test_grids_worked_by_hand(low, high, kind, symmetric, reduced, scale, zero) -> None:
    grid = make_grid(span(low, high), kind, symmetric, reduced)
    assert grid.scale == np.float32(scale) and grid.zero_point == zero


def test_rounding_is_half_to_even_and_saturates() -> None:
    grid = make_grid(span(-127.0, 127.0), "int8", symmetric=True)
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 126.5, 127.5, 500.0, -500.0], np.float32)
    assert grid.quantise(x).tolist() == [0, 2, 2, 0, -2, 126, 127, 127, -127]


@pytest.mark.parametrize("kind", ["uint8", "int8"])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_grids_do_what_onnx_does(kind: str, axis: int | None) -> None:
    onnx = pytest.importorskip("onnx")
    reference = pytest.importorskip("onnx.reference")
    x = np.random.default_rng(1).normal(0.3, 2, (5, 7)).astype(np.float32)
    observer = Observer("minmax", "per_tensor" if axis is None else "per_channel", axis=axis or 0, kind=kind)
    observer.update(x)
    grid = observer.grid()
    feeds = {"x": x, "s": grid.scale, "z": grid.zero_point.astype(kind)}
    if axis is None:
        feeds |= {"s": feeds["s"].reshape(()), "z": feeds["z"].reshape(())}
    extra = {} if axis is None else {"axis": axis}
    node = onnx.helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"], **extra)
    (y,) = reference.ReferenceEvaluator(node, opsets={"": 20}).run(None, feeds)
    assert np.array_equal(grid.quantise(x), y)
    node = onnx.helper.make_node("DequantizeLinear", ["y", "s", "z"], ["x"], **extra)
    (back,) = reference.ReferenceEvaluator(node, opsets={"": 20}).run(None, {**feeds, "y": y})
    assert np.array_equal(grid.dequantise(y.astype(np.int32)), back)


def test_affine_grids_are_those_of_dynamic_quantize_linear() -> None:
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"])], "g",
        [helper.make_tensor_value_info("x", kind.FLOAT, ["n"])],
        [helper.make_tensor_value_info(n, t, s) for n, t, s in
         (("y", kind.UINT8, ["n"]), ("s", kind.FLOAT, []), ("z", kind.UINT8, []))],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for seed, shift in enumerate((0.0, 4.0, -4.0, 0.7)):
        x = np.random.default_rng(seed).normal(shift, 1, 400).astype(np.float32)
        y, scale, zero = session.run(None, {"x": x})
        grid = make_grid(span(float(x.min()), float(x.max())), "uint8", symmetric=False)
        assert np.isclose(grid.scale[0], scale, rtol=2e-7) and grid.zero_point[0] == zero
        assert (np.abs(grid.quantise(x) - y.astype(int)) <= 1).all() and (grid.quantise(x) == y).mean() > 0.99


def test_granularities_keep_their_axes() -> None:
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    found = {}
    for granularity in ("per_tensor", "per_channel", "per_token"):
        observer = Observer("minmax", granularity, axis=1)
        observer.update(x)
        found[granularity] = observer.range().high.tolist()
    assert found == {"per_tensor": [23], "per_channel": [15, 19, 23], "per_token": [3, 7, 11, 15, 19, 23]}
    observer = Observer("minmax", "per_token")
    observer.update(x)
    error = np.abs(observer.grid().rounded(x) - x)
    assert (error.max(axis=-1) <= x.max(axis=-1) / 255 / 2 * 1.001).all()


def test_minmax_and_moving_average_over_arrays() -> None:
    arrays = [np.array([-1.0, 2.0]), np.array([-3.0, 1.0]), np.array([0.5, 1.0])]
    wide, moving = Observer("minmax"), Observer("moving")
    for x in arrays:
        wide.update(x)
        moving.update(x)
    assert (wide.range().low, wide.range().high) == (-3.0, 2.0)
    assert moving.range().low == pytest.approx(0.9 * (0.9 * -1 + 0.1 * -3))
    assert moving.range().high == pytest.approx(0.9 * (0.9 * 2 + 0.1 * 1) + 0.1 * 1)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("share", [90.0, 99.0, 99.9, 100.0])
def test_percentile_is_the_value_of_that_rank(symmetric: bool, share: float) -> None:
    random = np.random.default_rng(2)
    arrays = [random.normal(0.2, size, 5000) for size in (0.5, 1.0, 3.0)]  # the range grows twice
    observer = Observer("percentile", percentile=share, symmetric=symmetric)
    for x in arrays:
        observer.update(x)
    every = np.concatenate(arrays)
    width = 4 * np.abs(every).max() / BINS  # of a bin: the reach is up to twice the peak
    made = observer.range()
    if symmetric:
        ends = [(max(made.high[0], -made.low[0]), np.sort(np.abs(every)), share)]
    else:
        ends = [(made.low[0], np.sort(every), 100 - share), (made.high[0], np.sort(every), share)]
    for found, ordered, percent in ends:  # between the neighbours of the value of that rank, to a bin
        rank = percent / 100 * (ordered.size - 1)
        low, high = np.clip([int(rank) - 1, int(rank) + 2], 0, ordered.size - 1)
        assert ordered[low] - width <= found <= ordered[high] + width


@pytest.mark.parametrize(("kind", "symmetric"), [("uint8", False), ("int8", True), ("uint4", False)])
def test_mse_is_the_brute_force_optimum(kind: str, symmetric: bool) -> None:
    x = np.random.default_rng(3).standard_t(3, 20_000)
    observer = Observer("mse", kind=kind, symmetric=symmetric)
    for part in np.split(x, 4):
        observer.update(part)

    def error(share: float) -> float:
        grid = make_grid(span(share * x.min(), share * x.max()), kind, symmetric)
        return float(np.square(grid.rounded(x) - x).mean())

    chosen = observer.range().high[0] / x.max()
    assert error(chosen) <= 1.02 * min(error(share) for share in SHARES)
    assert error(chosen) < 0.96 * error(1.0)


def test_entropy_is_the_brute_force_optimum() -> None:
    """A second implementation of the divergence, with loops over levels."""
    random = np.random.default_rng(4)
    x = np.concatenate([random.normal(0, 1, 50_000), [9.0, -9.0]])
    observer = Observer("entropy", kind="int8", symmetric=True)
    observer.update(x)
    edges = np.linspace(-9, 9, BINS + 1)
    counts, centres = np.histogram(x, edges)[0].astype(float), (edges[1:] + edges[:-1]) / 2
    counts[BINS // 2] = 0  # where zero is

    def divergence(share: float) -> float:
        limit = share * 9
        grid = make_grid(span(-limit, limit), "int8", True)
        inside = np.abs(centres) <= limit + (edges[1] - edges[0]) / 2
        p = np.where(inside, counts, 0)
        first, last = np.flatnonzero(inside)[[0, -1]]
        p[first] += counts[:first].sum()
        p[last] += counts[last + 1 :].sum()
        q, level = np.zeros(BINS), grid.quantise(centres)
        for number in np.unique(level[inside]):
            members = inside & (level == number) & (counts > 0)
            if members.any():
                q[members] = counts[members].sum() / members.sum()
        p, q = p / p.sum(), q / q.sum()
        return float(sum(a * np.log(a / max(b, 1e-9)) for a, b in zip(p, q, strict=True) if a > 0))

    losses = {share: divergence(share) for share in SHARES}
    chosen = observer.range().high[0] / 9
    nearest = min(losses, key=lambda share: abs(share - chosen))
    assert losses[nearest] <= min(losses.values()) * 1.05 + 1e-6
    assert 0.25 < chosen < 0.8  # the two outliers are clipped, the rest is not


@pytest.mark.parametrize("method", METHODS)
def test_rows_are_observed_each_for_itself(method) -> None:
    x = np.random.default_rng(5).normal(0, [[1], [10], [0.01]], (3, 4000))
    together = Observer(method, "per_channel", axis=0, kind="int8", symmetric=True)
    together.update(x)
    for row, high in zip(x, together.range().high, strict=True):
        alone = Observer(method, kind="int8", symmetric=True)
        alone.update(row)
        assert high == pytest.approx(alone.range().high[0], rel=0.05)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("kind", "symmetric"), [("uint8", False), ("int8", True), ("int8", False)])
def test_constants_and_zero_are_exact(method, kind: str, symmetric: bool) -> None:
    for value in (0.0, 3.25, -0.75, 1e-30):
        x = np.full(50, value, np.float32)
        observer = Observer(method, kind=kind, symmetric=symmetric, percentile=100)
        observer.update(x)
        rounded = observer.grid().rounded(np.append(x, np.float32(0)))
        assert rounded[-1] == 0
        if method in ("minmax", "moving", "percentile"):
            assert np.allclose(rounded[:-1], x, rtol=1e-2 if method == "percentile" else 1e-6)


def test_what_has_no_range_is_refused() -> None:
    observer = Observer()
    with pytest.raises(QuantError, match="nothing"):
        observer.range()
    for bad, words in ((np.array([]), "empty"), (np.array([np.nan]), "NaN"), (np.array([np.inf]), "NaN")):
        with pytest.raises(QuantError, match=f"layer x.*{words}"):
            observer.update(bad, "layer x")
    channels = Observer(granularity="per_channel")
    channels.update(np.ones((2, 3)))
    with pytest.raises(QuantError, match="4 ranges"):
        channels.update(np.ones((2, 4)))
    for wrong in ({"method": "guess"}, {"granularity": "per_row"}, {"percentile": 10}):
        with pytest.raises(QuantError):
            Observer(**wrong)
    with pytest.raises(QuantError, match="no grid"):
        make_grid(span(0, 1), "int3", True)


def test_signal_to_noise_ratio() -> None:
    x = np.ones(100)
    assert sqnr_db(x, x * 1.1) == pytest.approx(20.0) and sqnr_db(x, x) == np.inf
    assert sqnr_db(np.zeros(3), np.ones(3)) == -np.inf
    eight = Observer(kind="int8", symmetric=True)
    wave = np.sin(np.linspace(0, 1000, 100_001))
    eight.update(wave)
    # A full-scale sine on 127 steps either side: 20 log10(127 sqrt(6)) = 49.9 dB.
    assert sqnr_db(wave, eight.grid().rounded(wave)) == pytest.approx(49.86, abs=0.1)
