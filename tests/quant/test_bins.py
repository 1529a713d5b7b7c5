"""Ranges that follow the noise level: grids, how a run finds its bin, and what is gained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="quantisation rewrites graphs with onnx (extra: quantize)")
pytest.importorskip("onnxruntime")

from onnx import numpy_helper, parser  # noqa: E402

from edgefoley.quant.bins import bin_grid, time_bins  # noqa: E402
from edgefoley.quant.calibrate import Sample  # noqa: E402
from edgefoley.quant.component import Made, quantise  # noqa: E402
from edgefoley.quant.emit import span_of  # noqa: E402
from edgefoley.quant.fused import check_fused  # noqa: E402
from edgefoley.quant.network import Network  # noqa: E402
from edgefoley.quant.observe import QuantError, sqnr_db  # noqa: E402
from edgefoley.quant.recipe import Recipe  # noqa: E402
from edgefoley.quant.watch import open_session  # noqa: E402

WIDTH, ROWS = 32, 24
LEVELS = (1.0, 0.75, 0.5, 0.25, 0.1)
GRAPH = """<ir_version: 9, opset_import: ["": 20]>
g (float[1,n,32] x, float[1,n,32] other, float[1,6] clock, float[1] same)
=> (float[1,n,48] y, float[1,n,48] z, float[1,6] t) {
    a = MatMul(x, lin)  b = Add(a, bias)  y = Relu(b)
    z = MatMul(x, side)
    u = Mul(clock, same)  v = Add(u, clock)  t = Neg(v)
}"""


def clock(level: float) -> np.ndarray:
    return np.cos(np.arange(6) * level).astype(np.float32)[None]


def feeds(level: float, seed: int) -> dict[str, np.ndarray]:
    """Inputs that are as large as the level, squared."""
    random = np.random.default_rng(seed)
    x, other = (random.standard_normal((1, ROWS, WIDTH)).astype(np.float32) for _ in range(2))
    return {"x": x * np.float32(10 * level**2), "other": other, "clock": clock(level),
            "same": np.ones(1, np.float32)}  # fmt: skip


def runs(levels: tuple[float | None, ...] = LEVELS, each: int = 2) -> list[tuple[Sample, dict]]:
    return [
        (Sample("", "", 0, level, ""), feeds(level or 1.0, 10 * number + again))
        for number, level in enumerate(levels) for again in range(each)
    ]  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    model, random = parser.parse_model(GRAPH), np.random.default_rng(0)
    for name, shape in (("lin", (WIDTH, 48)), ("side", (WIDTH, 48)), ("bias", (48,))):
        values = random.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    onnx.save(model, str(tmp_path / "plain.onnx"))
    return tmp_path / "plain.onnx"


def recipe(**rule) -> Recipe:
    rule = {"pattern": "g/*", "scheme": "w8a8-static", "reduce_range": True, **rule}
    return Recipe.from_json({"name": "t", "version": 1, "about": "", "layers": [rule]})


def made(path: Path, **rule) -> Made:
    result = quantise(Network.read("g", path), recipe(**rule), runs(), path.parent)
    result.network.write(path.parent / "made.onnx", apart=False)
    return result


def losses(path: Path, level: float) -> list[float]:
    given = feeds(level, 99)
    sides = [open_session(path.parent / name) for name in ("plain.onnx", "made.onnx")]
    exact, rounded = (s.run(["y", "z"], {i.name: given[i.name] for i in s.get_inputs()}) for s in sides)
    return [sqnr_db(a, b) for a, b in zip(exact, rounded, strict=True)]


def test_grids_of_bins_share_the_best_zero_point() -> None:
    spans = [span_of(-1.0, 3.0), span_of(-0.1, 0.5), span_of(-2.0, 2.0)]
    found = bin_grid(spans, "uint8", symmetric=False)
    zero = int(found.unit.zero_point[0])

    def scales(at: int) -> np.ndarray:
        return np.array([max(-s.low[0] / at, s.high[0] / (255 - at)) for s in spans])

    assert zero == min(range(1, 255), key=lambda at: np.prod(scales(at)))
    assert np.allclose(found.scales, scales(zero))
    for number, span in enumerate(spans):
        grid = found.at(number)
        ends = np.array([span.low[0], span.high[0]], np.float32)
        assert np.abs(grid.rounded(ends) - ends).max() <= 0.51 * grid.scale[0], "nothing is cut off"
    level = bin_grid(spans, "int8", symmetric=True)
    assert level.unit.zero_point.tolist() == [0] and np.allclose(level.scales, np.array([3, 0.5, 2]) / 127)


def test_one_sided_and_empty_ranges_have_grids() -> None:
    found = bin_grid([span_of(0, 5), span_of(0, 0)], "uint8", symmetric=False)
    assert found.unit.zero_point.tolist() == [0] and np.allclose(found.scales, [5 / 255, 1])
    below = bin_grid([span_of(-5, -1), span_of(-2, 0)], "uint8", symmetric=False)
    assert below.unit.zero_point.tolist() == [255] and np.allclose(below.scales, [5 / 255, 2 / 255])


def test_bins_are_neighbours_and_the_clock_is_found(path: Path) -> None:
    network = Network.read("g", path)
    bins = time_bins(network, runs(), 2)
    assert bins.levels == ((1.0, 0.75, 0.5), (0.25, 0.1)) and bins.source == "clock"
    assert [bins.of(level) for level in LEVELS] == [0, 0, 0, 1, 1]
    with pytest.raises(QuantError, match="6 bins need inputs captured at 6 noise levels"):
        time_bins(network, runs(), 6)
    with pytest.raises(QuantError, match="there are 0; only the denoiser"):
        time_bins(network, runs((None,)), 2)
    deaf = [(sample, {**given, "clock": clock(1.0)}) for sample, given in runs()]
    with pytest.raises(QuantError, match=r"an input that tells the noise level; none of x, other, clock"):
        time_bins(network, deaf, 2)


def test_a_run_between_two_levels_is_in_the_nearest_ones_bin(path: Path, tmp_path: Path) -> None:
    network = Network.read("g", path)
    bins = time_bins(network, runs(), 5)
    network.nodes[:0] = bins.nodes(network, "bin")
    network.model.graph.output.append(onnx.helper.make_tensor_value_info("bin", onnx.TensorProto.INT64, [1]))
    session = open_session(network.write(tmp_path / "bin.onnx", False)[0])
    for level in np.linspace(0.05, 1, 39):
        given = feeds(float(level), 0)
        given = {i.name: given[i.name] for i in session.get_inputs()}
        far = [np.square(clock(float(level)) - clock(other)).sum() for other in LEVELS]
        assert session.run(["bin"], given)[0].tolist() == [int(np.argmin(far))]


@pytest.mark.parametrize("kind", ["uint8", "int8"])
@pytest.mark.parametrize("symmetric", [False, True])
def test_small_levels_gain_and_products_stay_integers(path: Path, kind: str, symmetric: bool) -> None:
    """At level 0.1 the inputs are a hundredth of what they are at 1: one range leaves them two steps."""
    rule = {"activation_type": kind, "activation_symmetric": symmetric}
    one = made(path, **rule)
    check_fused(path.parent / "made.onnx", one.expected, path.parent)
    plain = {level: losses(path, level) for level in LEVELS}
    many = made(path, bins=5, **rule)
    check_fused(path.parent / "made.onnx", many.expected, path.parent)
    assert many.expected.integer == 2
    binned = {level: losses(path, level) for level in LEVELS}
    assert max(plain[0.1]) < 12 and min(min(found) for found in binned.values()) > 30
    assert min(np.subtract(binned[1.0], plain[1.0])) > -2
    noted = many.layers["g/a"]
    assert noted["bins"] == [[level] for level in LEVELS]
    scales = noted["activations"]["x"]["scale"]
    assert len(scales) == 5 and 60 < scales[0] / scales[-1] < 160
    assert noted["sqnr_db"] > one.layers["g/a"]["sqnr_db"] - 0.1


def test_integer_results_are_those_of_the_definition(path: Path) -> None:
    """A layer against NumPy: divide by the bin's scale, round, multiply in integers, multiply by it."""
    found = made(path, bins=2, pattern="g/z")
    noted, weights = found.layers["g/z"]["activations"]["x"], found.network.weights
    w, scale = weights["side.q8"].astype(np.int64), weights["side.scale"]
    session = open_session(path.parent / "made.onnx")
    for level, number in ((1.0, 0), (0.1, 1)):
        given = feeds(level, 5)
        z = session.run(["z"], {i.name: given[i.name] for i in session.get_inputs()})[0]
        inverse = np.float32(1) / np.float32(noted["scale"][number])
        numbers = np.clip(np.rint(given["x"] * inverse) + noted["zero_point"], 0, 255).astype(np.int64)
        exact = (numbers - noted["zero_point"]) @ w * scale.astype(np.float64) * noted["scale"][number]
        assert np.allclose(z, exact, rtol=1e-5, atol=1e-6)


def test_with_the_other_techniques(path: Path) -> None:
    result = made(path, bins=3, smoothing=0.5, bias_correction=True, activation_range="mse")
    check_fused(path.parent / "made.onnx", result.expected, path.parent)
    assert min(min(losses(path, level)) for level in LEVELS) > 20


def test_what_bins_are_not_for() -> None:
    with pytest.raises(QuantError, match="bins is from 1 to 16, not 0"):
        recipe(bins=0)
    with pytest.raises(QuantError, match="use format qdq"):
        recipe(bins=2, format="qoperator")
    with pytest.raises(QuantError, match="w8a8-static with bins is not to be had for product"):
        recipe(bins=2, kinds=["matmul", "product"])
    assert recipe(bins=2).rules[0].kinds == ("matmul", "conv1d")
    assert not recipe(bins=2, scheme="w8a8-dynamic").rules[0].scheme.binned


def test_a_network_without_noise_levels_is_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(QuantError, match="g: 2 bins need inputs captured at 2 noise levels"):
        quantise(Network.read("g", path), recipe(bins=2), runs((None,)), tmp_path)
    assert [item.name for item in tmp_path.iterdir()] == ["plain.onnx"]
