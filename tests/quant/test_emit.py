"""Every scheme on a small graph with every kind of layer: what it computes, how it is stored, what fuses."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="quantisation rewrites graphs with onnx (extra: quantize)")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from edgefoley.quant.calibrate import Sample  # noqa: E402
from edgefoley.quant.component import Made, quantise  # noqa: E402
from edgefoley.quant.emit import pack_blocks  # noqa: E402
from edgefoley.quant.fused import check_fused, operators  # noqa: E402
from edgefoley.quant.network import Network  # noqa: E402
from edgefoley.quant.observe import QuantError, sqnr_db  # noqa: E402
from edgefoley.quant.recipe import Recipe  # noqa: E402
from edgefoley.quant.watch import open_session  # noqa: E402

WIDTH, TAPS, ROWS = 32, 3, 40


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    """Of a table, a MatMul, two Gemm, two one-dimensional convolutions and a two-dimensional one."""
    random = np.random.default_rng(seed)
    w = lambda *shape: (random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)  # noqa: E731
    return {
        "table.weight": w(300, WIDTH), "lin.weight": w(WIDTH, 48), "lin.bias": w(48), "up.weight": w(48, 64),
        "gate.weight": w(48, 64), "down.weight": w(WIDTH, 64), "down.bias": w(WIDTH),
        "wide.weight": w(48, WIDTH, TAPS), "wide.bias": w(48), "image.weight": w(8, 1, 3, 3),
        "image.bias": w(8), "deep.weight": w(8, 1, 3, 3), "out.weight": w(16, 48, 1), "norm": w(48) + 1,
    }  # fmt: skip


def build(path: Path, seed: int = 0) -> dict[str, np.ndarray]:
    """ids -> rows -> MatMul -> norm -> gated MLP -> convolutions; a product; a small picture network."""
    made = weights(seed)
    nodes = [
        ("Gather", ["table.weight", "ids"], ["rows"], {}),
        ("Add", ["rows", "x"], ["sum"], {}),
        ("MatMul", ["sum", "lin.weight"], ["lin0"], {}),
        ("Add", ["lin0", "lin.bias"], ["lin1"], {}),
        ("LayerNormalization", ["lin1", "norm"], ["normed"], {}),
        ("MatMul", ["normed", "up.weight"], ["up"], {}),
        ("MatMul", ["normed", "gate.weight"], ["gate"], {}),
        ("Relu", ["gate"], ["open"], {}),
        ("Mul", ["open", "up"], ["gated"], {}),
        ("Gemm", ["gated", "down.weight", "down.bias"], ["down"], {"transB": 1}),
        ("Unsqueeze", ["down", "zero"], ["batch"], {}),
        ("Transpose", ["batch"], ["time"], {"perm": [0, 2, 1]}),
        ("Conv", ["time", "wide.weight", "wide.bias"], ["wide"], {"pads": [2, 2], "dilations": [2]}),
        ("Relu", ["wide"], ["bent"], {}),
        ("Conv", ["bent", "out.weight"], ["sound"], {}),
        ("Transpose", ["sum"], ["sumT"], {}),
        ("MatMul", ["sum", "sumT"], ["scores"], {}),
        ("Conv", ["picture", "image.weight", "image.bias"], ["seen"], {"pads": [1, 1, 1, 1]}),
        ("Clip", ["seen", "least", "most"], ["clipped"], {}),
        ("Conv", ["clipped", "deep.weight"], ["image"], {"pads": [1, 1, 1, 1], "group": 8}),
    ]
    constants = {**made, "zero": np.array([0]), "least": np.float32(0), "most": np.float32(6)}
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(op, i, o, name=f"{op}_{o[0]}", **extra) for op, i, o, extra in nodes], "small",
        [value("ids", TensorProto.INT64, ["n"]), value("x", TensorProto.FLOAT, ["n", WIDTH]),
         value("picture", TensorProto.FLOAT, [1, 1, "h", "w"])],
        [value("sound", TensorProto.FLOAT, None), value("scores", TensorProto.FLOAT, None),
         value("image", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    inferred = onnx.shape_inference.infer_shapes(model)
    onnx.save(inferred, str(path))
    return made


def feeds(seed: int, rows: int = ROWS) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "ids": random.integers(0, 300, rows),
        "x": random.standard_normal((rows, WIDTH)).astype(np.float32),
        "picture": random.standard_normal((1, 1, 9, 12)).astype(np.float32),
    }


def apply(tmp_path: Path, *rules: dict, rest: str = "fp32", runs: int = 4, **default) -> Made:
    path = tmp_path / "small.onnx"
    build(path)
    data = {"name": "t", "version": 1, "about": "", "rest": rest, "layers": list(rules)}
    recipe = Recipe.from_json({**data, "default": default or {"scheme": "fp32"}})
    captured = [(Sample("", "", 0, i / runs, ""), feeds(10 + i)) for i in range(runs)]
    made = quantise(Network.read("small", path), recipe, captured, tmp_path)
    made.network.write(tmp_path / "made.onnx", apart=False)
    return made


def errors(tmp_path: Path, rows: int = ROWS) -> dict[str, float]:
    """SQNR in dB of the written graph against the original, per output, on inputs that were not captured."""
    given = feeds(99, rows)
    sides = [open_session(tmp_path / name) for name in ("small.onnx", "made.onnx")]
    exact, rounded = (side.run(None, given) for side in sides)
    return {
        value.name: sqnr_db(a, b) for value, a, b in zip(sides[0].get_outputs(), exact, rounded, strict=True)
    }


LINEAR = ("matmul", "conv1d")


def test_layers_have_names_and_kinds(tmp_path: Path) -> None:
    build(tmp_path / "small.onnx")
    found = {x.name: x.kind for x in Network.read("small", tmp_path / "small.onnx").layers()}
    assert found == {
        "small/table": "table", "small/lin": "matmul", "small/up": "matmul", "small/gate": "matmul",
        "small/down": "matmul", "small/wide": "conv1d", "small/out": "conv1d", "small/image": "conv",
        "small/deep": "conv", "small/MatMul_scores": "product",
    }  # fmt: skip


def test_float32_is_the_same_graph(tmp_path: Path) -> None:
    made = apply(tmp_path)
    assert set(errors(tmp_path).values()) == {np.inf}
    assert made.expected.integer == made.expected.blocks == 0


@pytest.mark.parametrize(
    ("scheme", "least"),
    [
        ({"scheme": "w8a8-static"}, 25),
        ({"scheme": "w8a8-static", "activation_type": "int8", "activation_symmetric": True}, 25),
        ({"scheme": "w8a8-static", "activation_range": "mse"}, 25),
        ({"scheme": "w8a8-static", "activation_range": "entropy"}, 20),
        ({"scheme": "w8a8-static", "format": "qoperator"}, 24),
        ({"scheme": "w8a8-static", "weight_granularity": "per_tensor"}, 24),
        ({"scheme": "w8a8-dynamic"}, 25),
        ({"scheme": "w8a8-dynamic", "smoothing": 0.5, "bias_correction": True}, 28),
        ({"scheme": "w8a8-static", "smoothing": 0.5, "bias_correction": True}, 26),
    ],
)
def test_integer_products_are_fused_and_close(tmp_path: Path, scheme: dict, least: float) -> None:
    """All six: Gemm and convolutions as products. Weights with one bit less, so that no CPU overflows."""
    made = apply(tmp_path, {"pattern": "*", "kinds": LINEAR, "reduce_range": True, **scheme})
    assert made.expected.integer == 6
    counts = check_fused(tmp_path / "made.onnx", made.expected, tmp_path)
    assert not {"Conv", "Gemm"} & counts.keys() - {"Conv"}
    for rows in (ROWS, 3, 1):  # shorter than the convolution's reach too
        found = errors(tmp_path, rows)
        assert found["sound"] > least - (3 if rows < ROWS else 0), found
        assert found["image"] == np.inf
    layers = made.layers
    assert all(layers[f"small/{n}"]["sqnr_db"] > 20 for n in ("lin", "up", "gate", "down", "wide", "out"))
    assert layers["small/lin"]["bytes"] < layers["small/lin"]["bytes_fp32"] / 3


@pytest.mark.parametrize("form", ["qdq", "qoperator"])
def test_convolutions_and_products(tmp_path: Path, form: str) -> None:
    rule = {"pattern": "*", "scheme": "w8a8-static", "format": form, "kinds": ["conv", "product"],
            "reduce_range": True}  # fmt: skip
    made = apply(tmp_path, rule)
    counts = check_fused(tmp_path / "made.onnx", made.expected, tmp_path)
    assert made.expected.integer == 3 and counts["QLinearConv"] == 2
    assert "Clip" not in operators(tmp_path / "made.onnx", tmp_path)[0]  # the grid of 0 to 6 does its work
    found = errors(tmp_path)
    assert found["image"] > 28 and found["scores"] > 28 and found["sound"] == np.inf


def test_integer_results_are_those_of_the_definition(tmp_path: Path) -> None:
    """One static layer against NumPy: quantise, multiply in integers, rescale."""
    made = apply(tmp_path, {"pattern": "small/lin", "scheme": "w8a8-static", "reduce_range": True})
    network, given = made.network, feeds(5)
    session = open_session(network.write(tmp_path / "one.onnx", False, ["lin0", "sum"])[0])
    product, source = session.run(["lin0", "sum"], given)
    noted = made.layers["small/lin"]["activations"]["sum"]
    numbers = np.clip(np.rint(source / np.float32(noted["scale"])) + noted["zero_point"], 0, 255)
    w, scale = network.weights["lin.weight.q8"].astype(np.int64), network.weights["lin.weight.scale"]
    exact = (numbers.astype(np.int64) - noted["zero_point"]) @ w
    assert np.allclose(product, exact * np.float64(noted["scale"]) * scale, rtol=1e-5, atol=1e-6)
    assert np.abs(w).max() == 64  # one bit less


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [4, 8])
def test_blocks_are_what_the_engine_unpacks(tmp_path: Path, bits: int, symmetric: bool) -> None:
    scheme = "w4a16" if bits == 4 else "w8a16"
    rule = {"pattern": "*", "kinds": LINEAR, "scheme": scheme, "kernel": "nbits", "block": 16}
    made = apply(tmp_path, {**rule, "weight_symmetric": symmetric})
    counts = check_fused(tmp_path / "made.onnx", made.expected, tmp_path)
    assert counts["MatMulNBits"] == made.expected.blocks == 6
    w = weights()["lin.weight"]
    rounded = pack_blocks(w, bits, 16, symmetric)[3]
    session = open_session(made.network.write(tmp_path / "one.onnx", False, ["lin0", "sum"])[0])
    product, source = session.run(["lin0", "sum"], feeds(5))
    assert np.allclose(product, source @ rounded, rtol=1e-4, atol=1e-4)
    assert 0 < np.abs(rounded - w).max() <= np.abs(w).max() / (2 ** (bits - 1) - 1) * 0.51


def test_packing_by_hand() -> None:
    """K = 3 filled up to a block of 16; 4 bits, symmetric: scale 7 / 7 = 1, numbers 8 + value."""
    packed, scale, zero, rounded = pack_blocks(np.array([[7.0], [-2.0], [1.4]], np.float32), 4, 16, True)
    assert packed.shape == (1, 1, 8) and scale.tolist() == [1.0]
    assert packed[0, 0, :2].tolist() == [15 | 6 << 4, 9 | 8 << 4] and (packed[0, 0, 2:] == 0x88).all()
    assert rounded.ravel().tolist() == [7, -2, 1] and zero.tolist() == [[8 | 8 << 4]]


@pytest.mark.parametrize(("scheme", "least", "share"), [("w8a16", 35, 0.45), ("fp16", 60, 0.62)])
def test_storage_alone_is_computed_when_the_file_is_opened(
    tmp_path: Path, scheme: str, least: float, share: float
) -> None:
    made = apply(tmp_path, rest="fp16", runs=0, scheme=scheme)
    check_fused(tmp_path / "made.onnx", made.expected, tmp_path)
    assert all(value > least for value in errors(tmp_path).values())
    stored = sum(record["bytes"] for record in made.layers.values())
    assert stored < share * made.float32_bytes
    assert set(made.stored) <= {"int8 widened", "fp16", "fp32"}  # none is multiplied as an integer
    assert ("int8 widened" in made.stored) == (scheme == "w8a16")


def test_integers_that_stay_integers_are_told_from_widened_ones(tmp_path: Path) -> None:
    rules = [
        {"pattern": "*", "kinds": LINEAR, "scheme": "w8a8-dynamic"},
        {"pattern": "*", "kinds": ["table"], "scheme": "w8a16"},
    ]
    made = apply(tmp_path, *rules)
    check_fused(tmp_path / "made.onnx", made.expected, tmp_path)
    numbers = dict.fromkeys(("w8a8-dynamic", "w8a16"), 0)
    for record in made.layers.values():
        if record["scheme"] in numbers:
            numbers[record["scheme"]] += math.prod(record["shape"])
    points = made.stored["int8"] - numbers["w8a8-dynamic"]  # zero points, one per output channel
    assert numbers["w8a8-dynamic"] > 0 and 0 <= points < 0.03 * numbers["w8a8-dynamic"]
    assert made.stored["int8 widened"] == numbers["w8a16"] > 0


def test_a_weight_that_would_be_widened_at_every_run_is_found(tmp_path: Path) -> None:
    """DequantizeLinear before a MatMul whose input stays in float: what a careless tool writes."""
    w = np.arange(WIDTH * 8, dtype=np.int8).reshape(WIDTH, 8)
    graph = helper.make_graph(
        [helper.make_node("DequantizeLinear", ["w", "s"], ["wide"]),
         helper.make_node("Relu", ["x"], ["bent"]),
         helper.make_node("QuantizeLinear", ["bent", "s", "z"], ["q"]),
         helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
         helper.make_node("MatMul", ["d", "wide"], ["a"]),
         helper.make_node("Relu", ["a"], ["b"]),
         helper.make_node("QuantizeLinear", ["b", "s", "z8"], ["c"]),
         helper.make_node("DequantizeLinear", ["c", "s", "z8"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8])],
        [numpy_helper.from_array(w, "w"), numpy_helper.from_array(np.float32(0.1), "s"),
         numpy_helper.from_array(np.uint8(0), "z"), numpy_helper.from_array(np.int8(0), "z8")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, str(tmp_path / "careless.onnx"))
    from edgefoley.quant.fused import Expected

    with pytest.raises(QuantError, match=r"widens 1 weights at every run|1 products of integers were meant"):
        check_fused(tmp_path / "careless.onnx", Expected(integer=1), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["careless.onnx"]


def test_smoothing_helps_where_channels_differ(tmp_path: Path) -> None:
    """Two channels of the table are 50 times larger: without smoothing they spoil the others' rounding."""
    found = {}
    for alpha in (0.0, 0.5):
        path = tmp_path / "small.onnx"
        build(path)
        network = Network.read("small", path)
        table = network.weights["table.weight"] = network.weights["table.weight"].copy()
        table[:, :2] *= 300
        network.write(path, apart=False)
        rule = {"pattern": "small/lin", "scheme": "w8a8-static", "smoothing": alpha, "reduce_range": True}
        recipe = Recipe.from_json({"name": "t", "version": 1, "about": "", "layers": [rule]})
        runs = [(Sample("", "", 0, 0.5, ""), feeds(10 + i)) for i in range(4)]
        made = quantise(Network.read("small", path), recipe, runs, tmp_path)
        found[alpha] = made.layers["small/lin"]["sqnr_db"]
        if alpha:
            assert made.layers["small/lin"]["smoothing"]["division"] == "multiplied"
            exact = made.network.copy()
            assert "sum.smooth0.factors" in exact.weights
    assert found[0.5] > found[0.0] + 4


def test_smoothing_folds_into_what_makes_the_input(tmp_path: Path) -> None:
    """The gate's other factor is a layer of its own; the normalisation has factors: no Mul is added."""
    made = apply(tmp_path, {"pattern": "*", "kinds": ["matmul"], "scheme": "w8a8-static", "smoothing": 0.5})
    how = {name: record.get("smoothing", {}).get("division") for name, record in made.layers.items()}
    assert how["small/up"] == how["small/gate"] == how["small/down"] == "folded"
    assert how["small/lin"] == "multiplied"


def test_bias_correction_takes_the_mean_off(tmp_path: Path) -> None:
    """A bias of all quantised channels: with it the mean error over captured inputs is gone."""
    means = {}
    for on in (False, True):
        rule = {"pattern": "small/lin", "scheme": "w8a8-static", "activation_range": "percentile",
                "percentile": 90.0, "bias_correction": on, "reduce_range": True}  # fmt: skip
        made = apply(tmp_path, rule, runs=8)
        exact, rounded = (
            np.concatenate([open_session(p).run(["lin1"], feeds(10 + i))[0] for i in range(8)])
            for p in (
                Network.read("small", tmp_path / "small.onnx").write(tmp_path / "a.onnx", False, ["lin1"])[0],
                made.network.write(tmp_path / "b.onnx", False, ["lin1"])[0],
            )
        )
        means[on] = np.abs((exact - rounded).mean(axis=0)).max()
        assert ("bias_correction" in made.layers["small/lin"]) == on
    assert means[True] < 0.35 * means[False]


def test_values_that_have_no_grid_are_refused(tmp_path: Path) -> None:
    build(tmp_path / "small.onnx")
    recipe = Recipe.from_json({"name": "t", "version": 1, "about": "",
                               "layers": [{"pattern": "small/lin", "scheme": "w8a8-static"}]})  # fmt: skip
    bad = feeds(1)
    bad["x"][3, 4] = np.nan
    with pytest.raises(QuantError, match=r"sum \(clip 1.*NaN"):
        quantise(Network.read("small", tmp_path / "small.onnx"), recipe,
                 [(Sample("", "", 0, None, ""), bad)], tmp_path)  # fmt: skip
    with pytest.raises(QuantError, match="small/lin: w8a8-static needs captured inputs"):
        quantise(Network.read("small", tmp_path / "small.onnx"), recipe, [], tmp_path)
    constant = {**feeds(1), "x": np.zeros((ROWS, WIDTH), np.float32)}
    constant["ids"][:] = 0
    made = quantise(Network.read("small", tmp_path / "small.onnx"), recipe,
                    [(Sample("", "", 0, None, ""), constant)], tmp_path)  # fmt: skip
    assert made.layers["small/lin"]["sqnr_db"] is None or made.layers["small/lin"]["sqnr_db"] > 20
    assert [p.name for p in tmp_path.iterdir()] == ["small.onnx"]
