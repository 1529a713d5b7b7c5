"""Narrow storage of weights: same function up to rounding, folded by ONNX Runtime, honest report."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgefoley.export.compact import (
    SESSION_OPTIONS,
    CompactReport,
    left_unfolded,
    output_channel_axis,
    quantise_channels,
    sqnr_db,
    store_fp16,
    store_int8,
    strip_metadata,
)

ort = pytest.importorskip("onnxruntime")


def network(opset: int = 20, seed: int = 0) -> ModelProto:
    """Conv, ConvTranspose, Transpose + MatMul, MatMul, Gemm: all kinds, channels of unequal gain."""
    rng = np.random.default_rng(seed)

    def weight(name: str, shape: tuple[int, ...], axis: int) -> TensorProto:
        gain = 10.0 ** rng.uniform(-2, 0, shape[axis])
        gain = gain.reshape([-1 if i == axis else 1 for i in range(len(shape))])
        return numpy_helper.from_array((rng.standard_normal(shape) * gain / 8).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "conv", "bias"], ["a"], pads=[1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("ConvTranspose", ["b", "up"], ["c"], strides=[2], pads=[1, 1]),
        helper.make_node("Transpose", ["c"], ["d"], perm=[0, 2, 1]),
        helper.make_node("Transpose", ["linear"], ["linear_t"], perm=[1, 0]),
        helper.make_node("MatMul", ["d", "linear_t"], ["e"]),
        helper.make_node("MatMul", ["e", "mat"], ["f"]),
        helper.make_node("ReduceMean", ["f", "axes"], ["g"], keepdims=0),
        helper.make_node("Gemm", ["g", "gemm"], ["y"], transB=1),
    ]
    initializers = [
        weight("conv", (48, 32, 3), 0),
        weight("bias", (48,), 0),
        weight("up", (48, 32, 4), 1),
        weight("linear", (64, 32), 0),
        weight("mat", (64, 80), 1),
        weight("gemm", (40, 80), 0),
        numpy_helper.from_array(np.array([1], np.int64), "axes"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 32, None])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 40])
    graph = helper.make_graph(nodes, "every_kind", [x], [y], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


AXES = {"conv": 0, "up": 1, "linear": 0, "mat": 1, "gemm": 0}


def session(model: ModelProto, options: dict[str, str] | None = None, optimised: Path | None = None):
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 3
    for key, value in (options or {}).items():
        settings.add_session_config_entry(key, value)
    if optimised is not None:
        settings.optimized_model_filepath = str(optimised)
    return ort.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])


def run(model: ModelProto, options: dict[str, str] | None = None) -> np.ndarray:
    x = np.random.default_rng(7).standard_normal((2, 32, 50)).astype(np.float32)
    return session(model, options).run(None, {"x": x})[0]


def assert_report_true(report: CompactReport, before: ModelProto, after: ModelProto) -> None:
    assert report.bytes_before == len(before.SerializeToString())
    assert report.bytes_after == len(after.SerializeToString())


def test_fp16_halves_the_file_and_keeps_the_values() -> None:
    model = network()
    small, report = store_fp16(model)
    assert_report_true(report, model, small)
    assert small.ByteSize() < 0.56 * model.ByteSize()
    assert {t.name for t in report.stored} == set(AXES)
    assert all(70 < t.sqnr_db < 90 for t in report.stored)  # 11 significant bits
    reference = run(model)
    assert sqnr_db(reference, run(small)) > 60
    assert not np.array_equal(reference, run(small))


def test_fp16_keeps_what_is_asked_for_and_what_does_not_fit() -> None:
    model = network()
    big = next(t for t in model.graph.initializer if t.name == "mat")
    values = numpy_helper.to_array(big).copy()
    values[0, 0] = 70000.0
    big.CopyFrom(numpy_helper.from_array(values, "mat"))
    small, report = store_fp16(model, keep=["gemm"])
    kept = {t.name for t in small.graph.initializer if t.data_type == TensorProto.FLOAT}
    assert kept == {"gemm", "mat", "bias"}
    assert "65504" in report.skipped["mat"] and "asked" in report.skipped["gemm"]


@pytest.mark.parametrize("store", [store_fp16, store_int8])
def test_misspelt_keep_is_an_error(store) -> None:
    with pytest.raises(ValueError, match="gem'"):
        store(network(), keep=["gem"])


@pytest.mark.parametrize("widen", ["dequantize", "multiply"])
def test_int8_quarters_the_file_and_keeps_the_values(widen) -> None:
    model = network()
    small, report = store_int8(model, min_elements=1000, widen=widen)
    assert_report_true(report, model, small)
    assert {t.name: t.axis for t in report.stored} == AXES
    assert sum(t.bytes_after for t in report.stored) < 0.3 * sum(t.bytes_before for t in report.stored)
    assert all(t.sqnr_db > 38 for t in report.stored)
    assert sqnr_db(run(model), run(small)) > 30


def test_int8_scales_belong_to_output_channels() -> None:
    """With one scale for the whole tensor, channels 100 times smaller would lose almost everything."""
    model = network()
    right = store_int8(model, min_elements=1000)[1]
    other = {"conv": 1, "mat": 0, "gemm": 1}

    def across(node, index, rank):
        return other.get(node.input[index]) if index == 1 else None

    wrong = store_int8(model, min_elements=1000, axis_rule=across)[1]
    assert {t.name: t.axis for t in wrong.stored} == other
    for tensor in wrong.stored:
        small = next(t for t in right.stored if t.name == tensor.name)
        assert small.sqnr_db > tensor.sqnr_db + 1
    assert set(wrong.skipped) == {"up", "linear"}


def test_int8_values_are_the_rounded_weights() -> None:
    model = network()
    small, _ = store_int8(model, min_elements=1000)
    stored = {t.name: numpy_helper.to_array(t) for t in small.graph.initializer}
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for name, axis in AXES.items():
        q, scale = stored[f"{name}.int8"], stored[f"{name}.scale"]
        assert q.dtype == np.int8 and q.min() >= -127
        shape = [-1 if i == axis else 1 for i in range(q.ndim)]
        error = np.abs(q * scale.reshape(shape) - weights[name])
        assert np.all(error <= scale.reshape(shape) * 0.5001)


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (lambda m: store_fp16(m)[0], {}),
        (lambda m: store_int8(m, min_elements=1000, widen="multiply")[0], {}),
        (lambda m: store_int8(m, min_elements=1000)[0], dict(SESSION_OPTIONS)),
        (lambda m: store_fp16(store_int8(m, keep=["mat"], min_elements=1000)[0])[0], dict(SESSION_OPTIONS)),
    ],
    ids=["fp16", "int8-multiply", "int8-dequantize", "int8-then-fp16"],
)
def test_onnx_runtime_folds_the_widening(make, options, tmp_path: Path) -> None:
    session(make(network()), options, tmp_path / "optimised.onnx")
    assert left_unfolded(onnx.load(tmp_path / "optimised.onnx")) == {}


def test_dequantize_needs_the_session_option(tmp_path: Path) -> None:
    """If this fails, ONNX Runtime folds DequantizeLinear by itself now and SESSION_OPTIONS can go."""
    session(store_int8(network(), min_elements=1000)[0], {}, tmp_path / "optimised.onnx")
    optimised = onnx.load(tmp_path / "optimised.onnx")
    # ONNX Runtime 1.32 fuses one of the five (a plain MatMul) into MatMulNBits; convolutions and Gemm stay.
    assert left_unfolded(optimised)["DequantizeLinear"] >= 3
    widened = {node.output[0] for node in optimised.graph.node if node.op_type == "DequantizeLinear"}
    assert {"conv", "up", "gemm"} <= widened


@pytest.mark.parametrize("widen", ["dequantize", "multiply"])
def test_fp16_after_int8_leaves_the_scales(widen) -> None:
    first, _ = store_int8(network(), keep=["mat"], min_elements=1000, widen=widen)
    small, report = store_fp16(first, min_elements=1)
    kinds = {t.name: t.data_type for t in small.graph.initializer}
    assert kinds["conv.scale"] == TensorProto.FLOAT and "scale" in report.skipped["conv.scale"]
    assert kinds["mat.fp16"] == TensorProto.FLOAT16 and kinds["conv.int8"] == TensorProto.INT8
    assert sqnr_db(run(network()), run(small)) > 30


def test_the_model_passed_in_is_untouched() -> None:
    model = network()
    before = model.SerializeToString()
    store_fp16(model)
    store_int8(model, min_elements=1000)
    strip_metadata(model)
    assert model.SerializeToString() == before


def test_same_input_gives_the_same_bytes() -> None:
    first, second = (store_int8(network(), min_elements=1000)[0] for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)


def test_old_opset_is_refused() -> None:
    with pytest.raises(ValueError, match=r"opset 12.*13"):
        store_int8(network(opset=12))


def test_unknown_widening_is_refused() -> None:
    with pytest.raises(ValueError, match="dequantize, multiply"):
        store_int8(network(), widen="divide")  # type: ignore[arg-type]


def test_shared_weight_with_two_axes_is_left_alone() -> None:
    square = numpy_helper.from_array(np.linspace(-1, 1, 4096, dtype=np.float32).reshape(64, 64), "w")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Gemm", ["h", "w"], ["y"], transB=1),
    ]
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 64]) for n in ("x", "y")]
    model = helper.make_model(
        helper.make_graph(nodes, "tied", value[:1], value[1:], [square]),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    small, report = store_int8(model, min_elements=1000)
    assert report.stored == () and "[0, 1]" in report.skipped["w"]
    assert [n.op_type for n in small.graph.node] == ["MatMul", "Gemm"]


def test_zero_channels_and_bad_values() -> None:
    weight = np.zeros((3, 4), np.float32)
    weight[1] = [1, -2, 0.5, 127 / 64]
    q, scale = quantise_channels(weight, 0)
    assert np.all(q[[0, 2]] == 0) and np.all(np.isfinite(scale)) and q[1, 1] == -127
    weight[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        quantise_channels(weight, 0)


@pytest.mark.parametrize(
    ("node", "index", "rank", "axis"),
    [
        (helper.make_node("Gemm", ["a", "w"], ["y"]), 1, 2, 1),
        (helper.make_node("Gemm", ["a", "w"], ["y"], transB=1), 1, 2, 0),
        (helper.make_node("Gemm", ["w", "b"], ["y"]), 0, 2, 0),
        (helper.make_node("Gemm", ["w", "b"], ["y"], transA=1), 0, 2, 1),
        (helper.make_node("Gemm", ["a", "b", "w"], ["y"]), 2, 2, None),
        (helper.make_node("MatMul", ["w", "b"], ["y"]), 0, 3, 1),
        (helper.make_node("MatMul", ["a", "w"], ["y"]), 1, 1, None),
        (helper.make_node("Conv", ["a", "b", "w"], ["y"]), 2, 1, None),
        (helper.make_node("Add", ["a", "w"], ["y"]), 1, 2, None),
    ],
)
def test_output_channel_axis(node, index, rank, axis) -> None:
    assert output_channel_axis(node, index, rank) == axis


def test_strip_metadata_removes_notes_only() -> None:
    model = network()
    for node in model.graph.node:
        node.doc_string = "x" * 500
        node.metadata_props.add(key="stack_trace", value="y" * 500)
    small = strip_metadata(model)
    assert small.ByteSize() < model.ByteSize() - 9 * 1000
    assert np.array_equal(run(model), run(small))


def test_folded_storage_costs_no_time() -> None:
    """The int8 file, opened with its session options, is as fast as float32 (loosely: machines are busy)."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((4, 1024, 1024)).astype(np.float32)
    weights = [numpy_helper.from_array(value, f"w{i}") for i, value in enumerate(values)]
    nodes = [helper.make_node("MatMul", [f"h{i}", f"w{i}"], [f"h{i + 1}"]) for i in range(4)]
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1024]) for name in ("h0", "h4")]
    model = helper.make_model(
        helper.make_graph(nodes, "chain", value[:1], value[1:], weights),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    feeds = {"h0": np.ones((1, 1024), np.float32)}
    sessions = [session(model), session(store_int8(model)[0], dict(SESSION_OPTIONS))]
    best = [float("inf")] * 2
    for _ in range(30):
        for i, s in enumerate(sessions):
            start = time.perf_counter()
            s.run(None, feeds)
            best[i] = min(best[i], time.perf_counter() - start)
    assert best[1] < 1.8 * best[0]
