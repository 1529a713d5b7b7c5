"""PyTorch module -> ONNX graph with named inputs and outputs, checked against PyTorch or refused."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import Tensor, nn

from edgefoley.errors import EdgeFoleyError

OPSET = 20  # GELU stays one operator from here on, which engines fuse


class ExportError(EdgeFoleyError):
    """An exported graph differs from its module in names, shapes or values."""


@dataclass(frozen=True)
class GraphSpec:
    """How a module is exported: ``inputs`` and ``outputs`` names in order, ``axes``: input name -> {axis: its
    name} for free axes, ``examples``: sets of inputs of different sizes; the first traces, all verify.
    ``attributes`` go into the manifest."""

    name: str
    module: nn.Module
    outputs: tuple[str, ...]
    axes: Mapping[str, Mapping[int, str]]
    examples: Sequence[Mapping[str, Tensor]]
    attributes: Mapping[str, Any]

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(self.examples[0])


def export_graph(spec: GraphSpec) -> onnx.ModelProto:
    """Trace the module with its first example. Raises ExportError when the exporter fails."""
    example = spec.examples[0]
    # One axis name used by two inputs is one size: two lengths that merely look alike in the example stay
    # apart.
    dims: dict[str, Any] = {
        name: torch.export.Dim.DYNAMIC for axes in spec.axes.values() for name in axes.values()
    }
    shapes = {
        name: {axis: dims[a] for axis, a in spec.axes.get(name, {}).items()} or None for name in example
    }
    talk = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(talk), torch.no_grad():
            warnings.simplefilter("ignore")
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            logging.getLogger("onnxscript").setLevel(logging.ERROR)
            program = torch.onnx.export(
                spec.module.eval(),
                (),
                kwargs=dict(example),
                input_names=list(spec.inputs),
                output_names=list(spec.outputs),
                dynamic_shapes=shapes,
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:
        raise ExportError(f"{spec.name}: the exporter failed: {error}") from error
    assert program is not None
    model = program.model_proto
    _name_axes(model, spec)
    onnx.checker.check_model(model)
    return model


def _name_axes(model: onnx.ModelProto, spec: GraphSpec) -> None:
    """Give free input axes the names of the spec, instead of the exporter's s0, s1."""
    for value in model.graph.input:
        for axis, name in spec.axes.get(value.name, {}).items():
            value.type.tensor_type.shape.dim[axis].ClearField("dim_value")
            value.type.tensor_type.shape.dim[axis].dim_param = name


def verify(spec: GraphSpec, model: onnx.ModelProto, tolerance: float) -> float:
    """Run every example in ONNX Runtime and in PyTorch; names, shapes and values must agree.

    ``tolerance``: largest relative error norm(a - b) / norm(b) of any output. Returns the largest found.
    Raises ExportError.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    names = tuple(i.name for i in session.get_inputs()), tuple(o.name for o in session.get_outputs())
    if set(names[0]) - set(spec.inputs) or names[1] != spec.outputs:
        raise ExportError(f"{spec.name}: the graph has {names}, wanted {(spec.inputs, spec.outputs)}")
    worst = 0.0
    for number, example in enumerate(spec.examples):
        with torch.no_grad():
            wanted = spec.module(**example)
        wanted = (wanted,) if isinstance(wanted, Tensor) else tuple(wanted)
        made = session.run(None, {k: v.numpy() for k, v in example.items() if k in names[0]})
        worst = max(worst, agreement(spec, made, [w.numpy() for w in wanted], number, tolerance))
    return worst


def agreement(
    spec: GraphSpec,
    made: Sequence[npt.NDArray],
    wanted: Sequence[npt.NDArray],
    number: int,
    tolerance: float,
) -> float:
    """Largest relative error of the outputs ``made`` for example ``number``. Raises ExportError when shape or
    type differ or an error is above ``tolerance``."""
    worst = 0.0
    for name, a, b in zip(spec.outputs, made, wanted, strict=True):
        if a.shape != b.shape or a.dtype != b.dtype:
            raise ExportError(
                f"{spec.name}: {name} is {a.dtype}{a.shape}, wanted {b.dtype}{b.shape} (example {number})"
            )
        if b.dtype.kind == "i":
            error = 0.0 if np.array_equal(a, b) else float("inf")
        else:
            error = float(
                np.linalg.norm(a.astype(np.float64) - b) / (np.linalg.norm(b.astype(np.float64)) + 1e-12)
            )
        worst = max(worst, error)
        if not error <= tolerance:
            raise ExportError(
                f"{spec.name}: {name} differs by {error:.2e} (allowed {tolerance:.0e}, example {number})"
            )
    return worst


def tensor_entries(model: onnx.ModelProto) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The manifest's description of inputs and outputs."""

    def describe(value: onnx.ValueInfoProto) -> dict[str, Any]:
        kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name
        dims = value.type.tensor_type.shape.dim
        return {"name": value.name, "shape": [d.dim_value or d.dim_param or "n" for d in dims], "dtype": kind}

    return [describe(v) for v in model.graph.input], [describe(v) for v in model.graph.output]
