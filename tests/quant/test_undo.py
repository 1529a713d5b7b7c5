"""A bundle with integer arithmetic can be widened again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="graphs are rewritten with onnx (extra: quantize)")
onnxruntime = pytest.importorskip("onnxruntime")

from edgefoley.bundle import open_bundle  # noqa: E402
from edgefoley.quant.calibrate import Sample  # noqa: E402
from edgefoley.quant.component import quantise  # noqa: E402
from edgefoley.quant.network import Network  # noqa: E402
from edgefoley.quant.observe import sqnr_db  # noqa: E402
from edgefoley.quant.recipe import Recipe  # noqa: E402

DYNAMIC = """<ir_version: 9, opset_import: ["": 20]> g (float[T,8] x) => (float[T,4] y, float[T,4] z) {
    q, s, p = DynamicQuantizeLinear(x)
    i = MatMulInteger(q, w, p, wz)  f = Cast<to = 1>(i)  k = Mul(s, ws)  y = Mul(f, k)
    j = MatMulInteger(q, v, p, wz)  g = Cast<to = 1>(j)  l = Mul(s, ws)  h = Mul(g, l)  z = Relu(h)
}"""


def graph(path: Path, text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    # Seven bits: kernels without VNNI add pairs of products in 16 bits, which larger weights overflow.
    w, v = (rng.integers(-60, 60, (8, 4)).astype(np.int8) for _ in range(2))
    zero, scale = rng.integers(-3, 4, 4).astype(np.int8), rng.uniform(0.01, 0.1, 4).astype(np.float32)
    model = onnx.parser.parse_model(text)
    arrays = {"w": w, "v": v, "wz": zero, "ws": scale}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(a, n) for n, a in arrays.items())
    onnx.save(model, str(path))
    return w, v, zero, scale


def test_products_of_integers_are_floats_again(tmp_path: Path) -> None:
    w, v, zero, scale = graph(tmp_path / "g.onnx", DYNAMIC)
    network = Network.read("g", tmp_path / "g.onnx")
    assert [n.op_type for n in network.nodes] == ["MatMul", "MatMul", "Relu"]
    network.write(tmp_path / "float.onnx", apart=False)
    x = np.random.default_rng(1).normal(size=(5, 8)).astype(np.float32)
    made = [
        onnxruntime.InferenceSession(str(tmp_path / name)).run(None, {"x": x})
        for name in ("float.onnx", "g.onnx")
    ]
    real = [(a.astype(np.float32) - zero) * scale for a in (w, v)]
    assert np.allclose(made[0][0], x @ real[0], rtol=1e-5, atol=1e-5)
    assert np.allclose(made[0][1], np.maximum(x @ real[1], 0), rtol=1e-5, atol=1e-5)
    assert np.abs(made[1][0] - made[0][0]).max() < 0.02 * np.abs(made[0][0]).max(), "inputs have 8 bits there"


def test_other_forms_stay(tmp_path: Path) -> None:
    shared = DYNAMIC.replace(
        "z = Relu(h)", "z = Mul(h, k)"
    )  # the first product's scale is used elsewhere too
    graph(tmp_path / "g.onnx", shared)
    kinds = [n.op_type for n in Network.read("g", tmp_path / "g.onnx").nodes]
    assert kinds.count("MatMulInteger") == 1 and kinds.count("MatMul") == 1
    assert kinds.count("DynamicQuantizeLinear") == 1


def test_the_packaged_denoiser_has_no_integers_left() -> None:
    network = Network.read("denoiser", open_bundle("nano").artefact("denoiser", "ort"))
    assert not [n.op_type for n in network.nodes if "Integer" in n.op_type or "Quantize" in n.op_type]
    assert len([layer for layer in network.layers() if layer.kind == "matmul"]) >= 39


def test_factors_of_smoothing_go_back_into_weights(tmp_path: Path) -> None:
    """What a recipe with smoothing made is read as the layers it was made of, under their names."""
    rng = np.random.default_rng(0)
    text = """<ir_version: 9, opset_import: ["": 20]> g (float[n,8] x) => (float[n,4] y) {
        i = MatMul(x, w)  a = Add(i, b)  r = Relu(a)  y = MatMul(r, v)
    }"""
    model = onnx.parser.parse_model(text)
    arrays = {"w": (8, 6), "b": (6,), "v": (6, 4)}
    names = {"w": "net.fc1.weight", "b": "net.fc1.bias", "v": "net.fc2.weight"}
    for name, shape in arrays.items():
        values = rng.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, names[name]))
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = names.get(name, name)
    onnx.save(model, str(tmp_path / "g.onnx"))
    x = rng.standard_normal((20, 8)).astype(np.float32) * np.array([50, *[1] * 7], np.float32)
    rule = {"pattern": "g/*", "scheme": "w8a8-dynamic", "smoothing": 0.5, "reduce_range": True}
    recipe = Recipe.from_json({"name": "t", "version": 1, "about": "", "layers": [rule]})
    made = quantise(
        Network.read("g", tmp_path / "g.onnx"), recipe, [(Sample("", "", 0, None, ""), {"x": x})], tmp_path
    )
    kinds = [node.op_type for node in made.network.nodes]
    assert kinds.count("MatMulInteger") == 2 and "x.smooth0.factors" in made.network.weights
    made.network.write(tmp_path / "made.onnx", apart=False)
    back = Network.read("g", tmp_path / "made.onnx")
    assert [node.op_type for node in back.nodes] == ["MatMul", "Add", "Relu", "MatMul"]
    assert [layer.name for layer in back.layers()] == ["g/net.fc1", "g/net.fc2"]
    back.write(tmp_path / "back.onnx", apart=False)
    exact, again = (
        onnxruntime.InferenceSession(str(tmp_path / name)).run(None, {"x": x})[0]
        for name in ("g.onnx", "back.onnx")
    )
    assert 25 < sqnr_db(exact, again) < 60, "weights were rounded once"
