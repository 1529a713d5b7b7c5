"""Networks too large to trace with their weights: the graph is traced without any, once for all blocks of a
kind, and each block's weights are then written beside a copy of it.

    trace     a module on PyTorch's fake tensors (shapes without values) -> graph whose weights are inputs
    Skeleton  that graph, with all that can be computed from weights alone taken out (``recipes``): weights
              are stored transposed, reshaped, cut or added up, as the graph needs them
    write     graph file and data file for one set of weights, read and written one tensor at a time

So memory stays at one tensor, and tracing, which takes longer than writing, is done once per kind. A weight's
pages are mapped by the engine from the data file, where large tensors begin at multiples of 64 KiB.

``storage`` "bf16" and "fp16" keep matrices in 16 bits; a Cast widens them, so that arithmetic stays float32.
For weights published in bfloat16 that is exact ("fp16" is, but for numbers below 6e-5).
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import os
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, get_args

import numpy as np
import numpy.typing as npt
import onnx
import onnx.reference
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from edgefoley.export.graph import OPSET, ExportError

Storage = Literal["fp32", "bf16", "fp16"]
STORAGES: Final[tuple[Storage, ...]] = get_args(Storage)
Weights = Callable[[str], Tensor]

NARROWED: Final = 1 << 16  # numbers from which a matrix is stored in 16 bits
APART: Final = 1 << 16  # bytes from which a tensor goes to the data file
ALIGNMENT: Final = 1 << 16  # what every system can map a file from
_TYPES: Final = {"bf16": (torch.bfloat16, TensorProto.BFLOAT16), "fp16": (torch.float16, TensorProto.FLOAT16)}
# Nodes that may be computed ahead. All give values no larger than their inputs, or sums of weights. (A Gather
# of which everything is fixed takes a part of a weight, such as the only column of a kernel of one.)
_AHEAD: Final = frozenset({
    "Transpose", "Reshape", "Slice", "Squeeze", "Unsqueeze", "Concat", "Split", "Flatten", "Gather", "Add",
    "Sub", "Mul", "Div", "Cast", "Identity",
})  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """How a stored tensor comes about: ``nodes`` applied to the weights ``sources``; none: it is the
    weight."""

    name: str
    sources: tuple[str, ...]
    nodes: tuple[NodeProto, ...]


@dataclass(frozen=True)
class Written:
    """A written graph: its ``path`` and ``data`` file, how many numbers it has ``stored`` in which type, and
    the largest relative error of a tensor by its storage (0: exact)."""

    path: Path
    data: Path
    stored: Mapping[Storage, int]
    error: float


@dataclass(frozen=True)
class Skeleton:
    """A graph whose inputs are first ``inputs``, then ``weights``. ``axes``: the tracer's symbols of the free
    axes -> their names."""

    model: onnx.ModelProto
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: tuple[str, ...]
    axes: Mapping[str, str]

    @cached_property
    def constants(self) -> Mapping[str, TensorProto]:
        """Tensors of the graph itself."""
        return {tensor.name: tensor for tensor in self.model.graph.initializer}

    @cached_property
    def recipes(self) -> tuple[Recipe, ...]:
        """Every tensor that has to be stored."""
        made: dict[str, NodeProto] = {}
        fixed = {*self.constants, ""}
        derived = set(self.weights)
        for node in self.model.graph.node:
            inside = node.op_type in _AHEAD and all(name in derived or name in fixed for name in node.input)
            if inside and any(name in derived for name in node.input):
                derived.update(node.output)
                made |= dict.fromkeys(node.output, node)
        ahead = {id(node) for node in made.values()}
        rest = [node for node in self.model.graph.node if id(node) not in ahead]
        wanted = [name for node in rest for name in node.input if name in derived]
        return tuple(self._recipe(name, made) for name in dict.fromkeys(wanted))

    @property
    def used(self) -> tuple[str, ...]:
        """Weights that some stored tensor is made of."""
        return tuple(dict.fromkeys(name for recipe in self.recipes for name in recipe.sources))

    def _recipe(self, name: str, made: Mapping[str, NodeProto]) -> Recipe:
        nodes: list[NodeProto] = []
        sources: list[str] = []

        def visit(value: str) -> None:
            if value in made:
                if made[value] not in nodes:
                    for source in made[value].input:
                        visit(source)
                    nodes.append(made[value])
            elif value in self.weights and value not in sources:
                sources.append(value)

        visit(name)
        return Recipe(name, tuple(sources), tuple(nodes))


def trace(
    name: str,
    make: Callable[[], nn.Module],
    example: Mapping[str, Tensor],
    outputs: Sequence[str],
    axes: Mapping[str, Mapping[int, str]],
) -> Skeleton:
    """Trace the module that ``make`` makes. ``example``: inputs by name, in order; their sizes say nothing
    about the free ``axes`` (input -> {axis: its name}). Raises ExportError."""
    dims = {axis: torch.export.Dim.DYNAMIC for free in axes.values() for axis in free.values()}
    shapes = {key: {at: dims[a] for at, a in axes.get(key, {}).items()} or None for key in example}
    mode = FakeTensorMode()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            for talker in ("torch.onnx", "onnxscript", "torch.export"):
                logging.getLogger(talker).setLevel(logging.ERROR)
            with mode:
                module = make().eval()
                fakes = {key: mode.from_tensor(value) for key, value in example.items()}
                program = torch.export.export(module, (), fakes, dynamic_shapes=shapes)
            made = torch.onnx.export(
                program, (), input_names=list(example), output_names=list(outputs), opset_version=OPSET,
                dynamo=True, optimize=False, verbose=False,
            )  # fmt: skip
            assert made is not None
            return _cleaned(name, made.model, tuple(module.state_dict()), example, outputs, axes)
    except ExportError:
        raise
    except Exception as error:
        raise ExportError(f"{name}: the exporter failed: {error}") from error


def _cleaned(
    name: str, graph: Any, weights: tuple[str, ...], example: Mapping[str, Tensor], outputs: Sequence[str],
    axes: Mapping[str, Mapping[int, str]],
) -> Skeleton:  # fmt: skip
    """Weights become inputs, the graph is simplified, what it does not read is dropped."""
    import onnx_ir
    import onnxscript.optimizer

    for key in list(graph.graph.initializers):
        if key not in weights:
            raise ExportError(f"{name}: the graph holds {key}, which is no weight and has no values here")
        value = graph.graph.initializers.pop(key)
        value.const_value = None
        graph.graph.inputs.append(value)
    onnxscript.optimizer.optimize(graph)
    model = onnx_ir.to_proto(graph)
    _keep_constants_apart(model)
    read = {value for node in model.graph.node for value in node.input}
    kept = [value for value in model.graph.input if value.name in read]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    found = tuple(value.name for value in model.graph.output)
    inputs = tuple(value.name for value in kept if value.name not in weights)
    if set(inputs) - set(example) or found != tuple(outputs):
        raise ExportError(f"{name}: the graph has {(inputs, found)}, wanted {(tuple(example), outputs)}")
    symbols: dict[str, str] = {}
    for value in kept:
        for axis, free in axes.get(value.name, {}).items():
            symbols[value.type.tensor_type.shape.dim[axis].dim_param] = free
    return Skeleton(model, inputs, found, tuple(v.name for v in kept if v.name in weights), symbols)


def _keep_constants_apart(model: onnx.ModelProto) -> None:
    """Constant nodes become initializers, so that there is one kind of constant."""
    nodes = []
    for node in model.graph.node:
        value = next((a.t for a in node.attribute if a.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            tensor = TensorProto()
            tensor.CopyFrom(value)
            tensor.name = node.output[0]
            model.graph.initializer.append(tensor)
        elif node.op_type == "Constant":
            plain = next(iter(node.attribute))
            array = np.array(helper.get_attribute_value(plain))
            kind = np.float32 if array.dtype.kind == "f" else np.int64
            model.graph.initializer.append(numpy_helper.from_array(array.astype(kind), node.output[0]))
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def write(
    skeleton: Skeleton, weights: Weights, path: Path, storage: Storage = "fp32",
    names: Mapping[str, str] | None = None, published: Callable[[str], str] = str,
) -> Written:  # fmt: skip
    """Write ``path`` and, beside it, its data file (suffix ``.data``).

    ``weights``: a weight by its published name, which is ``published`` of its name in the traced module; the
    stored tensor bears that name too. ``names``: other names for inputs and outputs.
    """
    if storage not in STORAGES:
        raise ExportError(f"storage must be one of {', '.join(STORAGES)}, not {storage!r}")
    data, labels = path.with_suffix(".data"), _labels(skeleton, published)
    tensors: list[TensorProto] = []
    widening: list[NodeProto] = []
    counts: dict[Storage, int] = {}
    worst = 0.0
    with data.open("wb") as file:
        for recipe in skeleton.recipes:
            array = _evaluate(recipe, lambda name: weights(published(name)), skeleton.constants)
            label = labels[recipe.name]
            narrow = storage != "fp32" and array.ndim > 1 and array.size >= NARROWED
            chosen: Storage = storage if narrow else "fp32"
            stored = f"{label}.{storage}" if narrow else label
            values, kind, error = _narrowed(array, chosen)
            tensors.append(_place(file, stored, array.shape, values, kind, data.name))
            if narrow:
                widening.append(helper.make_node("Cast", [stored], [label], to=TensorProto.FLOAT))
            counts[chosen] = counts.get(chosen, 0) + array.size
            worst = max(worst, error)
        file.flush()
        os.fsync(file.fileno())
    model = _assembled(skeleton, tensors, widening, {**labels, **(names or {})})
    path.write_bytes(model.SerializeToString())
    onnx.checker.check_model(str(path))  # by its path: it looks for the data file there
    return Written(path, data, counts, worst)


def _labels(skeleton: Skeleton, published: Callable[[str], str]) -> dict[str, str]:
    """A name for every stored tensor: its weight's, numbered where several are cut from one weight."""
    labels: dict[str, str] = {}
    for recipe in skeleton.recipes:
        name, count = published(recipe.sources[0]), 0
        while name in labels.values():
            count += 1
            name = f"{published(recipe.sources[0])}.{count}"
        labels[recipe.name] = name
    return labels


def _evaluate(
    recipe: Recipe, weights: Weights, constants: Mapping[str, TensorProto]
) -> npt.NDArray[np.float32]:
    sources = {name: weights(name).detach().float().numpy() for name in recipe.sources}
    if not recipe.nodes:
        return sources[recipe.name]
    needed = {name for node in recipe.nodes for name in node.input if name in constants}
    graph = helper.make_graph(
        list(recipe.nodes), "ahead",
        [helper.make_tensor_value_info(key, TensorProto.FLOAT, v.shape) for key, v in sources.items()],
        [helper.make_tensor_value_info(recipe.name, TensorProto.FLOAT, None)],
        [constants[name] for name in sorted(needed)],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    made: Any = onnx.reference.ReferenceEvaluator(model).run(None, sources)
    return np.asarray(made[0], dtype=np.float32)


def _narrowed(array: npt.NDArray[np.float32], storage: Storage) -> tuple[npt.NDArray, int, float]:
    """What is written, its ONNX type, and norm(written - array) / norm(array)."""
    array = np.ascontiguousarray(array)
    if storage == "fp32":
        return array, TensorProto.FLOAT, 0.0
    kind, number = _TYPES[storage]
    exact = torch.from_numpy(array)
    narrow = exact.to(kind)
    difference = narrow.float().sub_(exact)
    error = float(difference.norm() / exact.norm().clamp(min=1e-30))
    if not math.isfinite(error):
        raise ExportError(f"a weight of shape {array.shape} has values beyond the range of {storage}")
    return narrow.view(torch.int16).numpy(), number, error


def _place(
    file: BinaryIO, name: str, shape: Sequence[int], values: npt.NDArray, kind: int, location: str
) -> TensorProto:
    """Write a large tensor to the data file, a small one into the graph."""
    tensor = TensorProto(name=name, data_type=kind, dims=shape)
    if values.nbytes < APART:
        tensor.raw_data = values.tobytes()
        return tensor
    file.write(b"\0" * (-file.tell() % ALIGNMENT))
    where = {"location": location, "offset": str(file.tell()), "length": str(values.nbytes)}
    values.tofile(file)
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in where.items():
        tensor.external_data.add(key=key, value=text)
    return tensor


def _assembled(
    skeleton: Skeleton,
    tensors: Sequence[TensorProto],
    widening: Sequence[NodeProto],
    names: Mapping[str, str],
) -> onnx.ModelProto:
    """The graph with its weights, without the tracer's notes; ``names``: what is called otherwise now."""
    model, traced = onnx.ModelProto(), skeleton.model.graph
    model.CopyFrom(skeleton.model)
    graph = model.graph
    del model.metadata_props[:], graph.metadata_props[:], graph.value_info[:], model.functions[:]
    ahead = {output for recipe in skeleton.recipes for node in recipe.nodes for output in node.output}
    rest = [node for node in traced.node if not ahead.issuperset(node.output)]
    read = {name for node in rest for name in node.input}
    del graph.node[:], graph.input[:], graph.initializer[:]
    graph.input.extend(value for value in traced.input if value.name in skeleton.inputs)
    graph.node.extend(rest)
    _rename(graph, names)
    graph.initializer.extend(tensors)
    graph.initializer.extend(t for name, t in skeleton.constants.items() if name in read)
    nodes = [*widening, *graph.node]  # in a valid graph every input exists before it is read
    del graph.node[:]
    graph.node.extend(nodes)
    for item in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        del item.metadata_props[:]
        item.ClearField("doc_string")
    for value in (*graph.input, *graph.output):
        for dim in value.type.tensor_type.shape.dim:
            for symbol, axis in skeleton.axes.items() if dim.dim_param else ():
                dim.dim_param = re.sub(rf"\b{symbol}\b", axis, dim.dim_param)
    return model


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    there = {name for node in graph.node for name in (*node.input, *node.output)}
    clash = {new for old, new in names.items() if new != old and new in there}
    if set(names) - there or clash:
        raise ExportError(f"no tensors {sorted(set(names) - there)} to rename, or {sorted(clash)} are taken")
    for value in (*graph.input, *graph.output):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        for side in (node.input, node.output):
            for index, name in enumerate(side):
                side[index] = names.get(name, name)
