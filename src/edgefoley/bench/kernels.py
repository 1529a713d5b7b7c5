"""Small graphs, one kernel each, that show what the engine makes of this machine.

Every kernel is written as an ONNX file in memory, opened in ONNX Runtime with the options of the pipeline,
and run on one thread; its time is the least processor time of many runs, which other programs on the machine
disturb least. What every run costs anyhow is measured with a graph of one number and taken off. Kernels that
move or change numbers one by one are chained, and the difference between a long and a short chain counts:
inside a network they find their input in the cache too, where the node before them put it.
"""

from __future__ import annotations

import math
import mmap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from edgefoley.backends.base import LoadOptions
from edgefoley.backends.ort import OrtBackend
from edgefoley.bench.graph_file import Sketch, Tensor
from edgefoley.bench.kernel_graphs import (
    ALONE,
    ALONE_BYTES,
    CHAIN_BYTES,
    CHAINED,
    CONV,
    DEPTHWISE,
    MATMUL,
    PRODUCT,
    Shape,
    alone,
    chain,
    convolutions,
    matmul,
    matmul_int8,
    product,
    square_conv,
    there_and_back,
)

LONG, SHORT = 9, 3  # nodes of the two chains
_CACHES: Final = 96 << 20  # bytes; more than the caches of most processors


@dataclass(frozen=True)
class Point:
    """One kernel measured: its ``kind`` and ``shape`` as ``operations.Work`` has them, ``op`` for those that
    have no operations, what it does, and ``seconds`` of processor time on one thread."""

    kind: str
    op: str
    shape: Shape
    operations: int
    bytes: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def measure(seconds: float = 0.04) -> tuple[list[Point], dict[str, float]]:
    """All points, and the ``call`` (seconds of a run of nearly nothing after other work), ``node`` (of one
    more node in it), ``bandwidth`` (bytes per second of reading weights that no cache holds) and ``touch``
    (bytes per second of fresh memory). ``seconds``: how long each kernel is tried."""
    call, node = _overheads(seconds, cold=False)
    points: list[Point] = []
    for make, kinds in ((matmul, MATMUL), (matmul_int8, MATMUL), (product, PRODUCT)):
        for shape in kinds:
            small = shape[-1] == shape[-2] and math.prod(shape) < 1 << 21
            if small:
                took = _least(make(shape, LONG)[0], seconds) - _least(make(shape, SHORT)[0], seconds)
                found = took / (LONG - SHORT) - node
            else:
                found = _least(make(shape)[0], seconds) - call
            points.append(Point(*make(shape)[1], max(found, 1e-8)))
    for sketch, told in convolutions():
        points.append(Point(*told, max(_least(sketch, seconds) - call, 1e-8)))
    for shape in (*CONV, *DEPTHWISE):
        took = _least(there_and_back(shape, 3), seconds) - _least(there_and_back(shape, 1), seconds)
        _, told = square_conv(shape)
        points.append(Point(*told, max(took / 4 - node, 1e-8)))
    for op in CHAINED:
        for size in CHAIN_BYTES:
            took = _least(chain(op, size, LONG)[0], seconds) - _least(chain(op, size, SHORT)[0], seconds)
            points.append(_moved(op, chain(op, size, 1)[1], max(took / (LONG - SHORT) - node, 1e-8)))
    for op in ALONE:
        for size in ALONE_BYTES:
            sketch, moved = alone(op, size)
            points.append(_moved(op, moved, max(_least(sketch, seconds) - call, 1e-8)))
    call, node = _overheads(5 * seconds, cold=True)
    return points, {"call": call, "node": node, "bandwidth": bandwidth(seconds), "touch": touch(seconds)}


def touch(seconds: float) -> float:
    """Bytes per second of fresh memory: a page of it is only made when it is first written."""
    size, best, end = 1 << 24, math.inf, time.monotonic() + seconds
    while best == math.inf or time.monotonic() < end:
        start = time.thread_time()
        block = mmap.mmap(-1, size)
        np.frombuffer(block, np.uint8)[:: mmap.PAGESIZE] = 1
        best = min(best, time.thread_time() - start)
        block.close()
    return size / best


def _moved(op: str, size: int, seconds: float) -> Point:
    return Point("", op, (), 0, size, seconds)


def bandwidth(seconds: float) -> float:
    """Bytes per second of one row times a weight of 64 MB, which is read once."""
    return 4 * 4096 * 4096 / _least(matmul((1, 4096, 4096))[0], 4 * seconds)


def _row(count: int) -> Sketch:
    """``count`` nodes that do next to nothing."""
    sketch = Sketch([Tensor("x0", "float32", (1, 64)), Tensor("c", "float32", (1, 64))],
                    [Tensor(f"x{count}", "float32", (1, 64))])  # fmt: skip
    ops = ("Mul", "Add", "Abs", "Sub", "Sigmoid")
    for i in range(count):
        op = ops[i % len(ops)]
        sketch.node(op, [f"x{i}"] if op in ("Abs", "Sigmoid") else [f"x{i}", "c"], [f"x{i + 1}"])
    return sketch


def _overheads(seconds: float, cold: bool) -> tuple[float, float]:
    """Seconds of a run of nearly nothing, and of one more node in it. ``cold``: other work in between has
    taken code and data out of the processor's caches, as the networks of a model do to each other."""
    short, long = _least(_row(2), seconds, cold), _least(_row(82), seconds, cold)
    node = max((long - short) / 80, 1e-8)
    return max(short - 2 * node, 0.0), node


def _least(sketch: Sketch, seconds: float, cold: bool = False) -> float:
    """Least processor time of a run, of those that fit into ``seconds`` (at least five). ``cold``: after
    each, as much memory as the largest caches hold is written."""
    session = _session(sketch)
    random = np.random.default_rng(0)
    feeds = {tensor.name: _filled(tensor, random) for tensor in sketch.inputs}
    names = [tensor.name for tensor in sketch.outputs]
    run: Callable[[], Any] = lambda: session.run(names, feeds)  # noqa: E731
    run()
    other = np.zeros(_CACHES if cold else 1, np.uint8)
    start = time.thread_time()
    run()
    loops = 1 if cold else max(1, math.ceil(2e-4 / max(time.thread_time() - start, 1e-6)))
    best, count, end = math.inf, 0, time.monotonic() + seconds
    while count < 5 or time.monotonic() < end:
        other[::64] += 1
        start = time.thread_time()
        for _ in range(loops):
            run()
        best = min(best, (time.thread_time() - start) / loops)
        count += 1
    return best


def _session(sketch: Sketch) -> Any:
    import onnxruntime

    options = OrtBackend()._session_options(onnxruntime, LoadOptions(threads=1))
    return onnxruntime.InferenceSession(sketch.file(), options, providers=["CPUExecutionProvider"])


def _filled(tensor: Tensor, random: np.random.Generator) -> np.ndarray:
    shape = tuple(int(size) for size in tensor.shape)
    if tensor.dtype == "float32":
        return random.uniform(0.5, 1.5, shape).astype(np.float32)
    if tensor.dtype == "bool":
        return random.integers(0, 2, shape).astype(bool)
    return random.integers(0, 2, shape).astype(tensor.dtype)


def as_points(entries: Sequence[Mapping[str, Any]]) -> list[Point]:
    """What ``Point.to_json`` wrote. Raises KeyError or TypeError for anything else."""
    return [Point(**{**entry, "shape": tuple(entry["shape"])}) for entry in entries]
