"""Values of attention can be turned: the network stays what it is, and outliers are spread."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="quantisation rewrites graphs with onnx (extra: quantize)")
pytest.importorskip("onnxruntime")

from onnx import numpy_helper, parser  # noqa: E402

from edgefoley.bundle import open_bundle  # noqa: E402
from edgefoley.quant.calibrate import Sample  # noqa: E402
from edgefoley.quant.component import quantise  # noqa: E402
from edgefoley.quant.network import Network  # noqa: E402
from edgefoley.quant.observe import sqnr_db  # noqa: E402
from edgefoley.quant.recipe import Recipe  # noqa: E402
from edgefoley.quant.rotation import hadamard, pairs_of, rotate  # noqa: E402
from edgefoley.quant.watch import values_of  # noqa: E402

HEADS, WIDTH, TAPS = 3, 8, 3
SIZE = HEADS * WIDTH
# Two streams attend to both together, as (part, head, width); their results are cut apart again. Then one
# attends to itself, as (head, width, part), with neighbours side by side behind it; then to another input.
GRAPH = """<ir_version: 9, opset_import: ["": 20]>
g (float[1,n,24] x, float[1,m,24] side, float[1,3,t,8] text) => (float[1,n,24] y, float[1,m,24] z)
<int64[1] two = {2}, int64[1] four = {4}, int64[1] zero = {0}, int64[1] axis = {1}, int64[1] end = {9999},
 int64[6] pads = {0, 1, 0, 0, 1, 0}, int64[1] one = {1}, int64[1] last = {-1}, int64[1] but = {-2},
 int64[5] parts = {1, -1, 3, 3, 8}, int64[5] inner = {1, -1, 3, 8, 3}, int64[3] flat = {1, -1, 24}> {
    ax = MatMul(x, qkv_x)  bx = Add(ax, bias_x)  rx = Reshape(bx, parts)
    tx = Transpose <perm = [2, 0, 3, 1, 4]> (rx)
    as = MatMul(side, qkv_side)  rs = Reshape(as, parts)  ts = Transpose <perm = [2, 0, 3, 1, 4]> (rs)
    both = Concat <axis = 3> (ts, tx)
    q0, k0, v0 = Split <axis = 0, num_outputs = 3> (both)
    q = Squeeze(q0, zero)  k = Squeeze(k0, zero)  v = Squeeze(v0, zero)
    kt = Transpose <perm = [0, 1, 3, 2]> (k)  s = MatMul(q, kt)  p = Softmax <axis = -1> (s)
    mixed = MatMul(p, v)  back = Transpose <perm = [0, 2, 1, 3]> (mixed)  rows = Reshape(back, flat)
    shape = Shape <start = 1, end = 2> (side)
    first = Slice(rows, zero, shape, axis)  second = Slice(rows, shape, end, axis)
    z0 = MatMul(first, out_side)  z = Add(z0, side)
    y0 = MatMul(second, out_x)  y1 = Add(y0, bias_out)  y2 = Add(y1, x)
    a = MatMul(y2, qkv)  r = Reshape(a, inner)  t5 = Transpose <perm = [4, 0, 2, 1, 3]> (r)
    qs, ks, vs = Split <axis = 0, num_outputs = 3> (t5)
    q2 = Squeeze(qs, zero)  k2 = Squeeze(ks, zero)  v2 = Squeeze(vs, zero)
    k2t = Transpose <perm = [0, 1, 3, 2]> (k2)  s2 = MatMul(q2, k2t)  p2 = Softmax <axis = -1> (s2)
    m2 = MatMul(p2, v2)  b2 = Transpose <perm = [0, 2, 1, 3]> (m2)  r2 = Reshape(b2, flat)
    padded = Pad(r2, pads)
    tap0 = Slice(padded, zero, but, axis)  tap1 = Slice(padded, one, last, axis)
    tap2 = Slice(padded, two, end, axis)
    taps = Concat <axis = 2> (tap0, tap1, tap2)
    w = MatMul(taps, out)  y3 = Add(y2, w)
    c = MatMul(y3, query)  rc = Reshape(c, heads4)  tc = Transpose <perm = [0, 2, 1, 3]> (rc)
    texts = Transpose <perm = [0, 1, 3, 2]> (text)  sc = MatMul(tc, texts)  pc = Softmax <axis = -1> (sc)
    mc = MatMul(pc, text)  bc = Transpose <perm = [0, 2, 1, 3]> (mc)  fc = Reshape(bc, flat)
    oc = MatMul(fc, out_text)  y = Add(y3, oc)
}"""
SHAPES = {
    "qkv_x": (SIZE, 3 * SIZE), "bias_x": (3 * SIZE,), "qkv_side": (SIZE, 3 * SIZE), "out_side": (SIZE, SIZE),
    "out_x": (SIZE, SIZE), "bias_out": (SIZE,), "qkv": (SIZE, 3 * SIZE), "out": (TAPS * SIZE, SIZE),
    "query": (SIZE, SIZE), "out_text": (SIZE, SIZE),
}  # fmt: skip


def network(path: Path, change=lambda text: text, outlier: float = 1.0) -> Network:
    """``outlier``: how much larger one channel of the first head's values of both streams is."""
    model, random = parser.parse_model(change(GRAPH)), np.random.default_rng(0)
    for name, shape in SHAPES.items():
        values = (random.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)
        if name in ("qkv_x", "qkv_side"):
            values[:, 2 * SIZE + 5] *= outlier
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, -1, HEADS, WIDTH]), "heads4"))
    onnx.save(model, str(path))
    return Network.read("g", path)


def feeds(seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    shapes = {"x": (1, 9, SIZE), "side": (1, 4, SIZE), "text": (1, HEADS, 5, WIDTH)}
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


RUNS = [(Sample("", "", 0, 0.5, ""), feeds(seed)) for seed in range(3)]


def named(pairs) -> list[tuple[list[str], list[str]]]:
    return [([x.weight for x in pair.sources], [x.weight for x in pair.targets]) for pair in pairs]


@pytest.mark.parametrize("width", [1, 6, 8, 64, 96])
def test_the_matrix_is_orthogonal_and_even(width: int) -> None:
    turn = hadamard(width).astype(np.float64)
    assert np.allclose(turn @ turn.T, np.eye(width), atol=1e-6)
    size = width & -width
    for start in range(0, width, size):
        block = turn[start : start + size, start : start + size]
        assert np.allclose(np.abs(block), 1 / np.sqrt(size), atol=1e-6)
    # What all channels have in common stays spread: the largest share of ones is twice the even one at most.
    assert np.abs(np.ones(width) @ turn).max() <= 2 + 1e-6


def test_attentions_are_found_whatever_their_layout(tmp_path: Path) -> None:
    plain = network(tmp_path / "g.onnx")
    pairs = pairs_of(plain, plain.layers(), RUNS, tmp_path)
    assert named(pairs) == [(["qkv_side", "qkv_x"], ["out_side", "out_x"]), (["qkv"], ["out"])]
    joint, alone = pairs
    values = 2 * SIZE + np.arange(SIZE).reshape(HEADS, WIDTH)
    assert all(np.array_equal(columns, values) for columns in joint.columns)
    assert np.array_equal(alone.columns[0], 3 * np.arange(SIZE).reshape(HEADS, WIDTH) + 2)
    places = np.arange(SIZE).reshape(HEADS, WIDTH)
    assert [rows.tolist() for rows in joint.rows] == [[places.tolist()]] * 2
    assert np.array_equal(alone.rows[0], np.stack([places + SIZE * tap for tap in range(TAPS)]))
    assert [path.name for path in tmp_path.iterdir()] == ["g.onnx"]


def test_outputs_are_those_of_before(tmp_path: Path) -> None:
    plain, turned = (network(tmp_path / "g.onnx", outlier=20) for _ in range(2))
    for pair in pairs_of(turned, turned.layers(), RUNS, tmp_path):
        assert rotate(turned, pair) == 8
    for name in ("qkv_x", "qkv_side", "qkv", "out_x", "out_side", "out", "bias_x"):
        assert not np.allclose(plain.weights[name], turned.weights[name], atol=1e-3), name
    for seed in (50, 51):  # not the run that columns were found with
        names = ["y", "z", "rows"]
        before, after = (values_of(n, feeds(seed), tmp_path, names) for n in (plain, turned))
        assert all(sqnr_db(before[name], after[name]) > 110 for name in ("y", "z"))
        rows = before["rows"].reshape(1, -1, HEADS, WIDTH) @ hadamard(WIDTH)
        assert np.allclose(rows.reshape(before["rows"].shape), after["rows"], atol=1e-4)
        channels = [np.abs(side["rows"][..., :WIDTH]).max(axis=(0, 1)) for side in (before, after)]
        assert channels[0].max() > 5 * channels[0].mean() and channels[1].max() < 2 * channels[1].mean()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            "z0 = MatMul(first, out_side)",
            "vn = ReduceMean(v)  zn = Add(first, vn)  z0 = MatMul(zn, out_side)",
        ),
        ("y0 = MatMul(second, out_x)", "y9 = Add(second, x)  y0 = MatMul(y9, out_x)"),
        ("kt = Transpose <perm = [0, 1, 3, 2]> (k)", "kv = Add(k, v)  kt = Transpose <perm=[0,1,3,2]> (kv)"),
        ("z0 = MatMul(first, out_side)", "z0 = MatMul(first, out_x)"),
    ],
)
def test_attentions_with_more_to_them_are_left_alone(tmp_path: Path, old: str, new: str) -> None:
    """Values, or what is made of them, that something else takes too; a weight with two uses."""
    assert old in GRAPH
    other = network(tmp_path / "g.onnx", lambda text: text.replace(old, new))
    assert named(pairs_of(other, other.layers(), RUNS, tmp_path)) == [(["qkv"], ["out"])]


@pytest.mark.parametrize("scheme", ["w8a8-static", "w8a8-dynamic"])
def test_it_helps_where_a_channel_stands_out(tmp_path: Path, scheme: str) -> None:
    found = {}
    for on in (False, True):
        rule = {"pattern": "g/y0", "scheme": scheme, "reduce_range": True, "rotation": on}
        recipe = Recipe.from_json({"name": "t", "version": 1, "about": "", "layers": [rule]})
        assert recipe.needs_calibration is (on or scheme == "w8a8-static")
        made = quantise(network(tmp_path / "g.onnx", outlier=30), recipe, RUNS, tmp_path)
        found[on] = made.layers["g/y0"]["sqnr_db"]
        rotated = {name: record["rotation"] for name, record in made.layers.items() if "rotation" in record}
        both = {"size": 8, "values": ["g/as", "g/ax"]}
        assert rotated == ({"g/z0": both, "g/y0": both} if on else {})
    assert found[True] > found[False] + 2


def test_a_packaged_denoiser_stays_what_it_is(tmp_path: Path) -> None:
    bundle = open_bundle("nano")
    sizes = {"latent": 24, "token": 12, "sync": 12, "visual": 3, "text": 4}
    random, given = np.random.default_rng(0), {}
    for name, spec in bundle.components["denoiser"].inputs.items():
        shape = [sizes.get(str(size), size) for size in spec.shape]
        given[name] = random.standard_normal(shape).astype(np.float32)
        if spec.dtype == "int64":
            given[name] = np.arange(12)
    plain, turned = (Network.read("denoiser", bundle.artefact("denoiser", "ort")) for _ in range(2))
    runs = [(Sample("", "", 0, 0.5, ""), given)]
    pairs = pairs_of(turned, turned.layers(), runs, tmp_path)
    targets = [layer.name.partition("transformer.")[2] for pair in pairs for layer in pair.targets]
    assert sorted(targets) == [
        *(f"single_blocks.{n}.linear1" for n in range(4)),
        "triple_blocks.0.audio_self_proj", "triple_blocks.0.v_cond_self_proj",
        "triple_blocks.1.audio_self_proj",
    ]  # fmt: skip
    for pair in pairs:
        rotate(turned, pair)
    before, after = (values_of(n, given, tmp_path, ["velocity"])["velocity"] for n in (plain, turned))
    assert sqnr_db(before, after) > 110
