"""Every network of a bundle alone: how long one run of it takes, with inputs as a clip gives them.

The networks are opened as the pipeline opens them, one after the other. Rounds go through all of them, so
that a busy moment of the machine hits all alike.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgefoley.backends import get_backend
from edgefoley.backends.base import LoadOptions
from edgefoley.bench.workload import Pass
from edgefoley.bundle import Bundle
from edgefoley.graphs import Graphs


@dataclass(frozen=True)
class Timing:
    """One network's runs, in the order of rounds: wall and processor seconds of each."""

    component: str
    times: int
    wall: tuple[float, ...]
    cpu: tuple[float, ...]


def inputs_of(one: Pass) -> dict[str, npt.NDArray]:
    """Arrays of a pass' shapes; what they hold does not change what a network costs."""
    random = np.random.default_rng(0)
    made: dict[str, npt.NDArray] = {}
    for tensor in one.graph.inputs:
        shape = one.shapes[tensor.name]
        if tensor.dtype.startswith("float"):
            made[tensor.name] = random.standard_normal(shape).astype(tensor.dtype)
        elif tensor.dtype == "uint8":
            made[tensor.name] = random.integers(0, 256, shape, dtype=np.uint8)
        else:  # rows and words: small enough for every table
            made[tensor.name] = np.zeros(shape, dtype=tensor.dtype)
    return made


def timed(
    bundle: Bundle, backend: str, passes: Sequence[Pass], threads: int, rounds: int, inner: int = 1
) -> list[Timing]:
    """Run every pass ``inner`` times in each of ``rounds``, after one run to warm up. All networks stay open.
    The mean of the ``inner`` runs counts as one. Raises the engine's errors."""
    graphs = Graphs(bundle, get_backend(backend), LoadOptions(threads=threads))
    try:
        feeds = [inputs_of(one) for one in passes]
        for one, fed in zip(passes, feeds, strict=True):
            graphs.run(one.component, fed)
        wall: list[list[float]] = [[] for _ in passes]
        cpu: list[list[float]] = [[] for _ in passes]
        for _ in range(rounds):
            for index, one in enumerate(passes):
                start, busy = time.perf_counter(), time.process_time()
                for _ in range(inner):
                    graphs.run(one.component, feeds[index])
                cpu[index].append((time.process_time() - busy) / inner)
                wall[index].append((time.perf_counter() - start) / inner)
    finally:
        graphs.close()
    return [
        Timing(one.component, one.times, tuple(walls), tuple(cpus))
        for one, walls, cpus in zip(passes, wall, cpu, strict=True)
    ]
