"""A component's graph in float32, with its weights apart, and the layers in it that can be quantised.

Whatever narrow storage a bundle has (float16 or bfloat16 behind Cast, int8 behind Cast and Mul or
DequantizeLinear, products of integers, weights transposed, cut or looked up at a constant place, factors of
an earlier smoothing) is computed away when the graph is read, so that bundles of every kind look alike: one
float32 weight behind an operator.

A layer's name is that of the weight it came from where that tells something ("blocks.3.fc1.weight" ->
"blocks.3.fc1"), else that of the bias added to its output, else the node's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgefoley.quant.nodes import consumers_of
from edgefoley.quant.observe import QuantError
from edgefoley.quant.undo import computed_ahead, without_integers, without_smoothing

Array = npt.NDArray[Any]

# What is computed ahead where all inputs are constant: how stored weights are widened, turned and cut.
FOLDED: Final = frozenset({
    "Cast", "Mul", "DequantizeLinear", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Slice", "Split",
    "Gather", "Concat", "Identity", "Flatten",
})  # fmt: skip
APART: Final = 1 << 16  # bytes from which a tensor goes to the data file, and where it begins there
_SUFFIXES: Final = (".weight", ".int8", ".fp16", ".bf16", ".cast", ".bias")


@dataclass(frozen=True)
class Layer:
    """One operator with a constant weight, or a product of two inputs (``weight`` "").

    ``name`` is COMPONENT/LAYER, ``kind`` one of ``recipe.KINDS``; ``node``: its node; ``source``: its input
    tensor; ``shape`` of the weight as the operator has it; ``bias``: the tensor added to its output, "" for
    none.
    """

    name: str
    kind: str
    node: Any
    weight: str
    source: str
    shape: tuple[int, ...]
    bias: str = ""

    @property
    def output(self) -> str:
        """The operator's own output, before a bias that another node adds."""
        return str(self.node.output[0])


@dataclass
class Network:
    """``model``: the graph without weights (nodes are in ``nodes``). ``weights``: its constants. ``origin``:
    constant -> the stored tensor it was made of. ``fixed``: constants whose storage is decided."""

    component: str
    model: Any
    nodes: list[Any]
    weights: dict[str, Array]
    origin: dict[str, str] = field(default_factory=dict)
    fixed: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, component: str, path: Path) -> Network:
        """Read a graph file and its data files. Raises QuantError for one that ONNX cannot read."""
        import onnx

        try:
            model = onnx.load(str(path), load_external_data=False)
        except Exception as error:  # protobuf's own exceptions
            raise QuantError(f"{path} is no ONNX graph: {error}") from error
        inputs = {value.name for value in model.graph.input}
        weights: dict[str, Array] = {}
        for tensor in model.graph.initializer:
            if tensor.name in inputs:
                raise QuantError(f"{path}: {tensor.name} is both an input and a constant.")
            weights[tensor.name] = np.asarray(onnx.numpy_helper.to_array(tensor, str(path.parent)))
        nodes = list(model.graph.node)
        del model.graph.initializer[:], model.graph.node[:]
        network = cls(component, model, without_integers(nodes, weights), weights)
        network._fold()
        return network

    def copy(self) -> Network:
        """One that can be changed; the weights' memory is shared."""
        import onnx

        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        nodes = []
        for node in self.nodes:
            nodes.append(onnx.NodeProto())
            nodes[-1].CopyFrom(node)
        return Network(self.component, model, nodes, dict(self.weights), dict(self.origin), set(self.fixed))

    @property
    def inputs(self) -> list[str]:
        return [value.name for value in self.model.graph.input]

    @property
    def outputs(self) -> list[str]:
        return [value.name for value in self.model.graph.output]

    @property
    def float32_bytes(self) -> int:
        """Bytes of all floating-point constants in float32."""
        return sum(4 * w.size for w in self.weights.values() if w.dtype == np.float32)

    def consumers(self) -> dict[str, list[Any]]:
        """Tensor -> nodes that take it."""
        return consumers_of(self.nodes)

    def replace(self, changes: Mapping[int, Sequence[Any]]) -> None:
        """Put other nodes in the place of nodes, by ``id``."""
        self.nodes = [new for node in self.nodes for new in changes.get(id(node), (node,))]

    def layers(self) -> list[Layer]:
        """All layers, in the graph's order, each name once."""
        consumers, found = self.consumers(), []
        for node in self.nodes:
            layer = self._layer(node, consumers)
            if layer is not None:
                found.append(layer)
        taken: dict[str, int] = {}
        for index, layer in enumerate(found):
            count = taken[layer.name] = taken.get(layer.name, -1) + 1
            if count:
                found[index] = replace(layer, name=f"{layer.name}.{count}")
        return found

    def _layer(self, node: Any, consumers: Mapping[str, list[Any]]) -> Layer | None:
        operator, first = node.op_type, node.input[0] if node.input else ""
        if operator == "MatMul" and not {first, node.input[1]} & self.weights.keys():
            return Layer(f"{self.component}/{node.name or node.output[0]}", "product", node, "", first, ())
        at = 0 if operator == "Gather" else 1
        weight = node.input[at] if len(node.input) > at else ""
        values = self.weights.get(weight)
        if values is None or values.dtype != np.float32:
            return None
        kind = _kind(node, values)
        if kind is None or (kind != "table" and first in self.weights):
            return None
        bias = node.input[2] if operator in ("Conv", "Gemm") and len(node.input) > 2 else ""
        if operator == "MatMul":
            bias = self._added(node.output[0], consumers)
        source = node.input[1] if kind == "table" else first
        name = f"{self.component}/{self._name(node, weight, bias)}"
        return Layer(name, kind, node, weight, source, values.shape, bias)

    def _added(self, tensor: str, consumers: Mapping[str, list[Any]]) -> str:
        """The constant row that is added to ``tensor``, "" for none."""
        users = consumers.get(tensor, [])
        if len(users) == 1 and users[0].op_type == "Add" and tensor not in self.outputs:
            other = next((name for name in users[0].input if name != tensor), "")
            if other in self.weights and self.weights[other].ndim == 1:
                return other
        return ""

    def _name(self, node: Any, weight: str, bias: str) -> str:
        for candidate in (weight, self.origin.get(weight, ""), bias, self.origin.get(bias, "")):
            shorter, telling = candidate, False
            while shorter.endswith(_SUFFIXES):
                shorter, _, suffix = shorter.rpartition(".")
                telling = telling or suffix in ("weight", "bias")
            if telling or "." in shorter:
                return shorter
        return str(node.name or node.output[0])

    def _fold(self) -> None:
        """Compute what depends on constants alone, and drop constants that nothing reads then."""
        for node in self.nodes:
            if node.op_type == "Constant":
                self.weights[node.output[0]] = _constant(node)
        rest = [node for node in self.nodes if node.op_type != "Constant"]
        versions = {item.domain: item.version for item in self.model.opset_import}
        rest = computed_ahead(rest, self.weights, FOLDED, versions, self.origin)
        self.nodes = without_smoothing(rest, self.weights)
        read = {name for node in self.nodes for name in node.input} | set(self.outputs)
        self.weights = {
            name: w.astype(np.float32) if w.dtype.name in ("bfloat16", "float16") and name in read else w
            for name, w in self.weights.items()
            if name in read
        }
        lost = [name for name in self.outputs if name in self.weights]
        if lost:
            raise QuantError(f"{self.component}: the outputs {lost} do not depend on any input.")

    def write(self, path: Path, apart: bool, extra_outputs: Iterable[str] = ()) -> list[Path]:
        """Write the graph, and with ``apart`` large constants beside it (``.data``); returns the files.

        ``extra_outputs``: float tensors to put out besides. Raises QuantError for a graph that is not valid.
        """
        import onnx
        from onnx import TensorProto, helper

        new, model = list(extra_outputs), onnx.ModelProto()
        model.CopyFrom(self.model)
        _drop_notes(model, self.nodes)
        model.graph.node.extend(self.nodes)
        model.graph.output.extend(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in new
        )
        read = {name for node in self.nodes for name in node.input}
        data = path.with_suffix(".data")
        with data.open("wb") if apart else open(os.devnull, "wb") as file:
            for name, array in self.weights.items():
                if name in read:
                    model.graph.initializer.append(_tensor(name, array, file if apart else None, data.name))
        path.write_bytes(model.SerializeToString(deterministic=True))
        if new:  # their shapes are not known, which the checker does not take
            return [path, data] if apart else [path]
        try:
            onnx.checker.check_model(str(path))
        except onnx.checker.ValidationError as error:
            raise QuantError(f"{self.component}: the graph made is not valid: {error}") from error
        return [path, data] if apart else [path]


def _kind(node: Any, weight: Array) -> str | None:
    if node.op_type == "MatMul":
        return "matmul" if weight.ndim == 2 else None
    attributes: dict[str, Any] = {item.name: item for item in node.attribute}
    if node.op_type == "Gemm":
        plain = all(attributes[k].f == 1.0 for k in ("alpha", "beta") if k in attributes)
        turned = "transA" in attributes and attributes["transA"].i
        return "matmul" if plain and not turned else None
    if node.op_type == "Conv":
        strides = list(attributes["strides"].ints) if "strides" in attributes else [1]
        groups = attributes["group"].i if "group" in attributes else 1
        padded = "auto_pad" in attributes and attributes["auto_pad"].s not in (b"", b"NOTSET")
        flat = weight.ndim == 3 and strides == [1] and groups == 1 and not padded
        return "conv1d" if flat else "conv"
    if node.op_type == "Gather" and weight.ndim == 2:
        return "table" if "axis" not in attributes or attributes["axis"].i == 0 else None
    return None


def _constant(node: Any) -> Array:
    import onnx

    value = onnx.helper.get_attribute_value(node.attribute[0])
    if isinstance(value, onnx.TensorProto):
        return np.asarray(onnx.numpy_helper.to_array(value))
    array = np.asarray(value)
    return array.astype(np.float32 if array.dtype.kind == "f" else np.int64)


def _tensor(name: str, array: Array, file: Any, location: str) -> Any:
    import onnx

    array = np.asarray(array, order="C")  # ascontiguousarray would make a row of a scalar
    if file is None or array.nbytes < APART:
        return onnx.numpy_helper.from_array(array, name)
    tensor = onnx.TensorProto(
        name=name, data_type=onnx.helper.np_dtype_to_tensor_dtype(array.dtype), dims=array.shape
    )
    file.write(b"\0" * (-file.tell() % APART))
    where = {"location": location, "offset": str(file.tell()), "length": str(array.nbytes)}
    file.write(array.data)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, text in where.items():
        tensor.external_data.add(key=key, value=text)
    return tensor


def _drop_notes(model: Any, nodes: Iterable[Any]) -> None:
    """What exporters note about nodes, and shapes between them, which need not be right any more."""
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    for node in nodes:
        del node.metadata_props[:]
        node.ClearField("doc_string")
