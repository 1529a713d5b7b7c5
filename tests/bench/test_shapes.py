"""Shapes told from the graph against those that ONNX Runtime really makes."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from edgefoley.bench.components import inputs_of
from edgefoley.bench.graph_file import read_graph
from edgefoley.bench.shapes import UnknownShapeError, propagate
from edgefoley.bench.workload import Pass, Workload
from edgefoley.bundle import open_bundle
from edgefoley.plan import Run
from tests.backends.onnx_files import normal, save

onnxruntime = pytest.importorskip("onnxruntime")
NUMPY = {"float": "float32", "uint8": "uint8", "int8": "int8", "int32": "int32", "int64": "int64",
         "bool": "bool", "float16": "float16", "bfloat16": "bfloat16", "double": "float64"}  # fmt: skip


def passes(seconds: str, model: str = "nano", **more) -> list[Pass]:
    bundle = open_bundle(model)
    run = Run(Fraction(seconds), more.get("video", True), (1280, 720), more.get("branches", 2), 12)
    return Workload(bundle, "ort", run).passes()


def made_by_engine(path: Path, one: Pass, folder: Path) -> dict[str, list[tuple[str, tuple[int, ...]]]]:
    """Node name -> (type, shape) of its outputs, as the engine saw them, nothing optimised away."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_profiling, options.profile_file_prefix = True, str(folder / one.component)
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    session.run(None, inputs_of(one))
    events = json.loads(Path(session.end_profiling()).read_text())
    found = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            outputs = [
                (NUMPY[k], tuple(v)) for one in event["args"]["output_type_shape"] for k, v in one.items()
            ]
            found[event["name"].removesuffix("_kernel_time")] = outputs
    return found


@pytest.mark.parametrize("seconds", ["2.5", "10"])
@pytest.mark.parametrize(
    "component", ["text", "sync", "conditioner", "timestep", "denoiser", "decoder", "visual"]
)
def test_every_node_of_the_packaged_model(tmp_path: Path, component: str, seconds: str) -> None:
    if component in ("visual", "sync") and seconds == "10":
        pytest.skip("the same operators as in 2.5 s, slower")
    one = [each for each in passes(seconds) if each.component == component][-1]
    found = made_by_engine(open_bundle("nano").artefact(component, "ort"), one, tmp_path)
    checked = 0
    for node in one.graph.nodes:
        if node.name in found:
            for name, (dtype, shape) in zip(node.outputs, found[node.name], strict=False):
                value = one.values[name]
                assert (value.dtype, value.shape) == (dtype, shape), f"{node.op} {node.name}"
                checked += 1
    assert checked > 0.9 * len(one.graph.nodes)


GRAPH = """g (float[1,C,H,W] x, int64[N] places) => (float[a,b,c,d] y, float[e] z)
    <int64[1] zero = {0}, int64[1] two = {2}, int64[1] far = {9223372036854775807}, int64[1] back = {-1},
     int64[1] past = {-9223372036854775808}, int64[1] last = {-1}, int64 none = {0}, int64 one = {1}> {
    size = Shape(x)
    width = Gather <axis = 0> (size, last)
    odd = Slice(x, back, past, last, back)
    every = Slice(odd, zero, far, last, two)
    soft = Conv <kernel_shape = [3,3], pads = [1,0,2,1], strides = [2,1], dilations = [1,2]> (x, w)
    wide = ConvTranspose <strides = [2,3], output_padding = [1,0], group = 1> (soft, v)
    pooled = MaxPool <kernel_shape = [2,3], strides = [2,2], ceil_mode = 1> (wide)
    y = Transpose <perm = [0,2,3,1]> (pooled)
    flat = Flatten <axis = 0> (every)
    row = Squeeze(flat, zero)
    count = Squeeze(width, zero)
    steps = Range(none, count, one)
    real = Cast <to = 1> (steps)
    mean = ReduceMean <keepdims = 0> (real, zero)
    some = Gather <axis = 0> (row, places)
    many = Concat <axis = 0> (some, real)
    z = Add(many, mean)
}"""


def test_awkward_operators(tmp_path: Path) -> None:
    path = save(tmp_path / "g.onnx", GRAPH, w=normal(4, 3, 3, 3), v=normal(4, 5, 2, 2))
    shapes = {"x": (1, 3, 11, 13), "places": (6,)}
    values = propagate(read_graph(path), shapes)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    made = session.run(None, {"x": normal(1, 3, 11, 13), "places": np.arange(6)})
    assert [values[name].shape for name in ("y", "z")] == [array.shape for array in made]


def test_what_depends_on_what_is_computed_is_refused(tmp_path: Path) -> None:
    graph = """g (float[N] x, int64[1] n) => (float[M] y) {
        twice = Add(n, n)
        y = Reshape(x, twice)
    }"""
    with pytest.raises(UnknownShapeError, match="Reshape"):
        propagate(read_graph(save(tmp_path / "g.onnx", graph)), {"x": (4,), "n": (1,)})


def test_unknown_operators_and_shapes_are_named(tmp_path: Path) -> None:
    path = save(tmp_path / "g.onnx", "g (float[N] x) => (float[M] y) { y = Rare(x) }")
    with pytest.raises(UnknownShapeError, match="Rare"):
        propagate(read_graph(path), {"x": (4,)})
    with pytest.raises(UnknownShapeError, match="'x'"):
        propagate(read_graph(path), {})
    with pytest.raises(UnknownShapeError, match="'x'"):
        propagate(read_graph(path), {"x": (4, 4)})
