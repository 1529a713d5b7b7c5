"""The reader and the writer of graph files against the onnx package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgefoley.bench.graph_file import Constant, Sketch, Tensor, bytes_of, read_graph
from edgefoley.bundle import builtin_folder
from edgefoley.errors import BundleIntegrityError
from tests.backends.onnx_files import normal, save

onnx = pytest.importorskip("onnx", reason="the files are compared with the onnx package (extra: dev)")
COMPONENTS = ("text", "visual", "sync", "conditioner", "timestep", "denoiser", "decoder")


def attribute(value):
    """An attribute as our reader gives it."""
    value = onnx.helper.get_attribute_value(value)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, onnx.TensorProto):
        return value.name, tuple(value.dims)
    return list(value) if not isinstance(value, int | float) else value


@pytest.mark.parametrize("component", COMPONENTS)
def test_packaged_graphs_are_read_as_onnx_reads_them(component: str) -> None:
    path = builtin_folder() / "nano" / f"{component}.onnx"
    graph, model = read_graph(path), onnx.load(str(path))
    assert graph.opset == model.opset_import[0].version
    assert len(graph.nodes) == len(model.graph.node)
    for ours, theirs in zip(graph.nodes, model.graph.node, strict=True):
        assert (ours.op, ours.name, ours.domain) == (theirs.op_type, theirs.name, theirs.domain)
        assert ours.inputs == tuple(theirs.input) and ours.outputs == tuple(theirs.output)
        for name, value in {a.name: attribute(a) for a in theirs.attribute}.items():
            mine = ours.attributes[name]
            assert (
                (mine.name, mine.shape) == value
                if isinstance(mine, Constant)
                else mine == pytest.approx(value)
            )
    for tensor in model.graph.initializer:
        mine = graph.constants[tensor.name]
        array = onnx.numpy_helper.to_array(tensor)
        assert mine.shape == array.shape and (mine.dtype == array.dtype.name or mine.dtype == "bfloat16")
        assert mine.bytes == bytes_of(mine.dtype, mine.shape)
        if mine.content is not None:
            np.testing.assert_array_equal(mine.content, array)
    for ours, theirs in zip(graph.inputs, model.graph.input, strict=True):
        dims = theirs.type.tensor_type.shape.dim
        assert ours.shape == tuple(d.dim_param or d.dim_value for d in dims)


def test_constants_in_all_their_forms(tmp_path: Path) -> None:
    """Numbers in raw bytes, in lists, packed or not, negative, and in another file."""
    graph = onnx.helper.make_graph([], "g", [], [])
    arrays = {
        "f": np.array([1.5, -2], np.float32), "i": np.array([-1, 2**40], np.int64),
        "h": np.array([0.5, -3], np.float16), "b": np.array([True, False]), "u": np.array([0, 255], np.uint8),
        "d": np.array([[1e-300]], np.float64), "n": np.array([-7, 7], np.int32),
    }  # fmt: skip
    for name, array in arrays.items():
        code = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        values = array.ravel().tolist()
        graph.initializer.append(onnx.helper.make_tensor(name, code, array.shape, values))
        graph.initializer.append(onnx.numpy_helper.from_array(array, name + "_raw"))
    path = tmp_path / "constants.onnx"
    onnx.save(onnx.helper.make_model(graph), str(path))
    found = read_graph(path).constants
    for name, array in arrays.items():
        for kind in ("", "_raw"):
            np.testing.assert_array_equal(found[name + kind].content, array)
            assert found[name + kind].dtype == array.dtype.name


def test_weights_in_another_file_are_counted_and_not_read(tmp_path: Path) -> None:
    graph = "g (float[1,T,64] x) => (float[1,T,32] y) { y = MatMul(x, w) }"
    path = save(tmp_path / "m.onnx", graph, external=True, w=normal(64, 32))
    constant = read_graph(path).constants["w"]
    assert (constant.shape, constant.bytes, constant.content) == ((64, 32), 64 * 32 * 4, None)


def test_subgraphs_are_named(tmp_path: Path) -> None:
    graph = """g (bool c, float[2] x) => (float[2] y) {
        y = If (c) <then_branch = t () => (float[2] a) { a = Neg(x) },
                    else_branch = e () => (float[2] a) { a = Abs(x) }>
    }"""
    node = read_graph(save(tmp_path / "if.onnx", graph)).nodes[0]
    assert set(node.graphs) == {"then_branch", "else_branch"}


def test_what_is_written_is_a_valid_model_that_computes(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    sketch = Sketch([Tensor("x", "float32", (2, "n"))], [Tensor("y", "float32", ("n", 2))], opset=20)
    sketch.constant("shift", np.array([[1], [-2]], np.float32))
    sketch.node("Add", ["x", "shift"], ["z"])
    sketch.node("Transpose", ["z"], ["y"], perm=[1, 0])
    onnx.checker.check_model(onnx.load_from_string(sketch.file()), full_check=True)
    session = onnxruntime.InferenceSession(sketch.file(), providers=["CPUExecutionProvider"])
    x = normal(2, 300)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], (x + np.array([[1], [-2]], np.float32)).T)
    path = tmp_path / "sketch.onnx"
    path.write_bytes(sketch.file())
    again = read_graph(path)
    assert again.inputs == tuple(sketch.inputs) and again.nodes[1].attributes == {"perm": [1, 0]}


@pytest.mark.parametrize("cut", [0, 1, 100, -1, -1000])
def test_damaged_files_are_refused(tmp_path: Path, cut: int) -> None:
    whole = (builtin_folder() / "nano" / "timestep.onnx").read_bytes()
    path = tmp_path / "part.onnx"
    path.write_bytes(whole[:cut])
    with pytest.raises(BundleIntegrityError, match=r"part\.onnx"):
        read_graph(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    path.write_text("no graph at all, but some words\n" * 50)
    with pytest.raises(BundleIntegrityError):
        read_graph(path)
    with pytest.raises(BundleIntegrityError):
        read_graph(tmp_path / "missing.onnx")
