"""Graph files (ONNX) read and written without the onnx package, which a small machine does not install.

An ONNX file is one protocol-buffer message. Its wire format is short: a message is a row of fields, each
begins with a number (field << 3 | form), and there are four forms: a varint, 8 bytes, a length and so many
bytes, 4 bytes. Field numbers are those of onnx.proto3 (onnx/onnx, Apache-2.0). What is read here is what
counting needs: nodes, attributes, the types and shapes of tensors, and the content of small constants;
weights stay in the file, which is memory-mapped. What is written are small graphs for measuring an engine's
kernels.

Standard library and NumPy.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgefoley.errors import BundleIntegrityError

Array = npt.NDArray[Any]
Bytes = bytes | memoryview

TYPES: Final[Mapping[int, str]] = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string",
    9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16", 21: "uint4",
    22: "int4",
}  # fmt: skip
"""Element types by their number in the file."""
BITS: Final[Mapping[str, int]] = {"bfloat16": 16, "uint4": 4, "int4": 4, "string": 0, "bool": 8}
SMALL: Final = 4096  # elements up to which a constant's content is read
_VARINT, _EIGHT, _LENGTH, _FOUR = 0, 1, 2, 5
# Fields of a tensor that hold its numbers, where they are not in raw_data, and how those are written.
_PLAIN: Final = {4: "<f4", 5: "varint", 7: "varint", 10: "<f8", 11: "varint"}


@dataclass(frozen=True)
class Constant:
    """A tensor in the file. ``content`` of at most ``SMALL`` elements, else None; ``bytes`` it takes
    there."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    content: Array | None
    bytes: int


@dataclass(frozen=True)
class Node:
    """One operator. ``attributes``: numbers, words, lists of them, or ``Constant``; what holds a graph (If,
    Loop) is named in ``graphs``."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    domain: str = ""
    graphs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tensor:
    """An input or output of a graph: free axes by name ("" where they have none)."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Graph:
    """A graph as its file has it. ``opset`` of the standard operators."""

    nodes: tuple[Node, ...]
    constants: Mapping[str, Constant]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    opset: int


def bytes_of(dtype: str, shape: Sequence[int]) -> int:
    """Bytes of a tensor; two numbers of 4 bits share a byte."""
    bits = BITS.get(dtype) or 8 * np.dtype(dtype).itemsize if dtype != "string" else 0
    count = 1
    for size in shape:
        count *= size
    return -(-count * bits // 8)


# --- reading ------------------------------------------------------------------------------------------------


def read_graph(path: Path) -> Graph:
    """The graph in a file. Raises BundleIntegrityError for one that is damaged or no ONNX file."""
    try:
        with path.open("rb") as file:
            # Closed with the last view of it: an exception's traceback may still hold some.
            return _model(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    except (OSError, ValueError, IndexError, KeyError, struct.error) as error:
        raise BundleIntegrityError(f"{path} is no graph that can be read ({error}).") from error


def _model(data: memoryview) -> Graph:
    graph, opset = None, 0
    for number, value in _fields(data):
        if number == 7:
            graph = value
        elif number == 8:
            entry = dict(_fields(value))
            if not bytes(entry.get(1, b"")):
                opset = int(entry[2])
    if graph is None:
        raise ValueError("there is no graph in it")
    nodes, constants = list[Node](), dict[str, Constant]()
    inputs, outputs = list[Tensor](), list[Tensor]()
    for number, value in _fields(graph):
        if number == 1:
            nodes.append(_node(value))
        elif number == 5:
            constant = _constant(value)
            constants[constant.name] = constant
        elif number in (11, 12):
            (inputs if number == 11 else outputs).append(_tensor(value))
    free = tuple(tensor for tensor in inputs if tensor.name not in constants)
    return Graph(tuple(nodes), constants, free, tuple(outputs), opset)


def _varint(data: Bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number in it has no end")


def _fields(data: Bytes) -> Iterator[tuple[int, Any]]:
    """(field, value) of a message: an int, or the bytes of what has a length or a fixed size."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        form = key & 7
        if form == _VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if form == _LENGTH:
            size, at = _varint(data, at)
        elif form in (_EIGHT, _FOUR):
            size = 8 if form == _EIGHT else 4
        else:
            raise ValueError(f"a field in it has the unknown form {form}")
        if at + size > end:
            raise ValueError("it ends too early")
        yield key >> 3, data[at : at + size]
        at += size


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _integers(value: Any) -> list[int]:
    """One number, or those packed into bytes."""
    if isinstance(value, int):
        return [_signed(value)]
    found, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        found.append(_signed(number))
    return found


def _text(value: Bytes) -> str:
    return bytes(value).decode("utf-8", "replace")


def _node(data: Bytes) -> Node:
    inputs, outputs, attributes, graphs, texts = [], [], {}, [], {3: "", 4: "", 7: ""}
    for number, value in _fields(data):
        if number == 1:
            inputs.append(_text(value))
        elif number == 2:
            outputs.append(_text(value))
        elif number in texts:
            texts[number] = _text(value)
        elif number == 5:
            name, found = _attribute(value)
            if found is None:
                graphs.append(name)
            else:
                attributes[name] = found
    domain = "" if texts[7] == "ai.onnx" else texts[7]
    return Node(texts[4], texts[3], tuple(inputs), tuple(outputs), attributes, domain, tuple(graphs))


def _attribute(data: Bytes) -> tuple[str, Any]:
    """Name and value; None for a graph."""
    name, kind, one = "", 0, dict[int, Any]()
    many: dict[int, list[Any]] = {7: [], 8: [], 9: []}
    for number, value in _fields(data):
        if number == 1:
            name = _text(value)
        elif number == 20:
            kind = int(value)
        elif number == 7:
            many[7] += np.frombuffer(bytes(value), "<f4").tolist()
        elif number == 8:
            many[8] += _integers(value)
        elif number == 9:
            many[9].append(_text(value))
        else:
            one[number] = value
    if kind == 1:
        return name, struct.unpack("<f", one.get(2, b"\0\0\0\0"))[0]
    if kind == 2:
        return name, _signed(one.get(3, 0))
    if kind == 3:
        return name, _text(one.get(4, b""))
    if kind == 4:
        return name, _constant(one[5])
    return name, {6: many[7], 7: many[8], 8: many[9]}.get(kind)


def _constant(data: Bytes) -> Constant:
    name, dtype, shape, raw, plain, outside = "", "", list[int](), None, list[Any](), 0
    code = 0
    for number, value in _fields(data):
        if number == 1:
            shape += _integers(value)
        elif number == 2:
            code = int(value)
        elif number == 8:
            name = _text(value)
        elif number == 9:
            raw = value
        elif number in _PLAIN and not plain:
            plain = [(number, value)]
        elif number in _PLAIN:
            plain.append((number, value))
        elif number == 13:
            entry = dict(_fields(value))
            outside = int(_text(entry[2])) if _text(entry.get(1, b"")) == "length" else outside
    dtype = TYPES[code]
    size = bytes_of(dtype, shape)
    content = None
    if not outside and int(np.prod(shape, dtype=np.int64)) <= SMALL:
        content = _content(dtype, tuple(shape), raw, plain)
    return Constant(name, dtype, tuple(shape), content, outside or size)


def _content(dtype: str, shape: tuple[int, ...], raw: Any, plain: list[Any]) -> Array | None:
    if dtype in BITS and dtype != "bool":  # NumPy lacks them, and nothing small depends on them
        return None
    if raw is not None:
        return np.frombuffer(bytes(raw), dtype).reshape(shape)
    numbers: list[Any] = []
    for number, value in plain:
        if _PLAIN[number] == "varint":
            numbers += _integers(value)
        else:
            numbers += np.frombuffer(bytes(value), _PLAIN[number]).tolist()
    if dtype == "float16":  # its bits, as whole numbers
        return np.array(numbers, np.uint16).view(np.float16).reshape(shape)
    return np.array(numbers, dtype).reshape(shape)


def _tensor(data: Bytes) -> Tensor:
    name, dtype, shape = "", "", list[int | str]()
    for number, value in _fields(data):
        if number == 1:
            name = _text(value)
        elif number == 2:
            for kind, body in _fields(value):
                if kind != 1:
                    raise ValueError(f"{name} is no tensor")
                for part, content in _fields(body):
                    if part == 1:
                        dtype = TYPES[int(content)]
                    elif part == 2:
                        shape = [_extent(dim) for number_, dim in _fields(content) if number_ == 1]
    return Tensor(name, dtype, tuple(shape))


def _extent(data: Bytes) -> int | str:
    for number, value in _fields(data):
        return _signed(value) if number == 1 else _text(value)
    return ""


# --- writing ------------------------------------------------------------------------------------------------


@dataclass
class Sketch:
    """A small graph to be written: ``node`` adds an operator, ``constant`` a tensor, ``inputs`` and
    ``outputs`` are tensors with fixed shapes."""

    inputs: list[Tensor]
    outputs: list[Tensor]
    opset: int = 17
    _nodes: list[bytes] = field(default_factory=list)
    _constants: list[bytes] = field(default_factory=list)

    def node(
        self, op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: int | Sequence[int]
    ) -> None:
        """Add an operator; attributes are whole numbers and lists of them."""
        body = b"".join(_chunk(1, name.encode()) for name in inputs)
        body += b"".join(_chunk(2, name.encode()) for name in outputs) + _chunk(4, op.encode())
        for name, value in attributes.items():
            entry = _chunk(1, name.encode())
            if isinstance(value, int):
                entry += _number(3, value) + _number(20, 2)
            else:
                entry += b"".join(_number(8, item) for item in value) + _number(20, 7)
            body += _chunk(5, entry)
        self._nodes.append(body)

    def constant(self, name: str, values: Array) -> None:
        """Add a tensor with its numbers."""
        code = next(code for code, dtype in TYPES.items() if dtype == values.dtype.name)
        body = b"".join(_number(1, size) for size in values.shape) + _number(2, code)
        data = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<")).tobytes()
        self._constants.append(body + _chunk(8, name.encode()) + _chunk(9, data))

    def file(self) -> bytes:
        """The ONNX file."""
        graph = b"".join(_chunk(1, node) for node in self._nodes) + _chunk(2, b"sketch")
        graph += b"".join(_chunk(5, constant) for constant in self._constants)
        graph += b"".join(_chunk(11, _value(tensor)) for tensor in self.inputs)
        graph += b"".join(_chunk(12, _value(tensor)) for tensor in self.outputs)
        opset = _chunk(1, b"") + _number(2, self.opset)
        return _number(1, 8) + _chunk(2, b"edgefoley") + _chunk(7, graph) + _chunk(8, opset)


def _number(number: int, value: int) -> bytes:
    return _bare(number << 3 | _VARINT) + _bare(value & (1 << 64) - 1)


def _bare(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*found, value))


def _chunk(number: int, body: bytes) -> bytes:
    return _bare(number << 3 | _LENGTH) + _bare(len(body)) + body


def _value(tensor: Tensor) -> bytes:
    code = next(code for code, dtype in TYPES.items() if dtype == tensor.dtype)
    dims = b"".join(
        _chunk(1, _number(1, size) if isinstance(size, int) else _chunk(2, size.encode()))
        for size in tensor.shape
    )
    return _chunk(1, tensor.name.encode()) + _chunk(2, _chunk(1, _number(1, code) + _chunk(2, dims)))
