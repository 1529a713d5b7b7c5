"""ONNX Runtime on the CPU.

The engine is imported in ``load``, not before. Its defaults are made for a server that answers the same graph
for days; ``OrtOptions`` holds what a short run on a small machine wants instead.
``benchmarks/ort_options.py`` measures each choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgefoley.backends.base import LoadOptions
from edgefoley.backends.feeds import check_feeds, check_outputs
from edgefoley.backends.processor import sums_of_16_bits
from edgefoley.backends.threads import default_threads
from edgefoley.errors import BackendError, BackendUnavailableError
from edgefoley.types import TensorSpec

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

INSTALL = 'python -m pip install "onnxruntime>=1.19"'

EXACT_SUMS = "session.x64quantprecision"
"""Session option that x86 without VNNI needs for int8 weights of all 8 bits: the kernels for uint8 times int8
add pairs of products in 16 bits, and what overflows is silently cut off."""

_LOG_NOTHING = 4  # "fatal": what goes wrong comes as an exception, and is told once
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}


@dataclass(frozen=True)
class OrtOptions:
    """Session options that cost or save time and memory.

    ``arena``: keep freed memory for the next run. ``mem_pattern``: plan the memory of a whole run ahead, per
    input shape. ``prepack``: keep a second, reordered copy of the weights for the matrix kernels.
    ``spinning``: idle threads burn the core while they wait for work. ``optimise``: "all", "extended",
    "basic" or "none".

    Chosen with benchmarks/ort_options.py (nano, 10 s clip, two threads; times noisy, memory not): without
    the arena the peak is 394 MB instead of 642 at equal speed (1.33 and 1.42 s); without prepacking it is no
    lower and slower; four threads on two cores take 2.6 times as long. Graphs are single files and are
    parsed, not memory-mapped.
    """

    arena: bool = False
    mem_pattern: bool = True
    prepack: bool = True
    spinning: bool = True
    optimise: str = "all"


DEFAULT_OPTIONS = OrtOptions()


class OrtBackend:
    """The back end of every built-in model. ``options`` are for measurements; the defaults are what was
    chosen."""

    name = "ort"

    def __init__(self, options: OrtOptions = DEFAULT_OPTIONS) -> None:
        self.options = options

    def available(self) -> str | None:
        """See ``base.Backend``."""
        if find_spec("onnxruntime") is None:
            return f"ONNX Runtime is not installed. Install it with: {INSTALL}"
        return None

    def load(self, path: Path, options: LoadOptions) -> OrtSession:
        """See ``base.Backend``. ``options.threads`` None: one thread per physical core that may be used."""
        reason = self.available()
        if reason is not None:
            raise BackendUnavailableError(reason)
        if not path.is_file():
            raise BackendError(f"ONNX Runtime cannot open {path}: no such file.")
        try:
            import onnxruntime

            onnxruntime.set_default_logger_severity(_LOG_NOTHING)
            if hasattr(onnxruntime, "disable_telemetry_events"):
                onnxruntime.disable_telemetry_events()  # the official Windows builds report usage otherwise
            session = onnxruntime.InferenceSession(
                str(path), self._session_options(onnxruntime, options), providers=["CPUExecutionProvider"]
            )
        except ImportError as error:
            raise BackendUnavailableError(
                f"ONNX Runtime is installed but does not start ({error}). Reinstall it with: {INSTALL}"
            ) from error
        except Exception as error:  # the engine's own exceptions share no base class
            raise BackendError(f"ONNX Runtime cannot open {path}: {_first_line(error)}") from error
        return OrtSession(path, session)

    def _session_options(self, onnxruntime: Any, options: LoadOptions) -> Any:
        chosen = onnxruntime.SessionOptions()
        chosen.log_severity_level = _LOG_NOTHING
        chosen.intra_op_num_threads = default_threads() if options.threads is None else options.threads
        chosen.inter_op_num_threads = 1  # the graphs are chains; nothing could run side by side
        chosen.enable_cpu_mem_arena = self.options.arena
        chosen.enable_mem_pattern = self.options.mem_pattern
        levels = onnxruntime.GraphOptimizationLevel
        chosen.graph_optimization_level = {
            "all": levels.ORT_ENABLE_ALL,
            "extended": levels.ORT_ENABLE_EXTENDED,
            "basic": levels.ORT_ENABLE_BASIC,
            "none": levels.ORT_DISABLE_ALL,
        }[self.options.optimise]
        chosen.add_session_config_entry("session.disable_prepacking", str(int(not self.options.prepack)))
        chosen.add_session_config_entry("session.intra_op.allow_spinning", str(int(self.options.spinning)))
        # int8 weights become uint8 and take kernels with sums of 32 bits, which are slower: not for files
        # that do without, nor on processors whose usual kernels are right.
        if options.full_range and sums_of_16_bits():
            chosen.add_session_config_entry(EXACT_SUMS, "1")
        return chosen


class OrtSession:
    """One loaded ONNX graph; see ``base.Session``."""

    def __init__(self, path: Path, session: InferenceSession) -> None:
        self._path = path
        self._session: InferenceSession | None = session
        self._bound: dict[str, npt.NDArray] = {}
        self._inputs = {node.name: _spec(path, node) for node in session.get_inputs()}
        self._outputs = {node.name: _spec(path, node) for node in session.get_outputs()}

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """See ``base.Session``."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """See ``base.Session``."""
        return self._outputs

    def bind(self, constants: Mapping[str, npt.NDArray]) -> None:
        """See ``base.Session``. On the CPU the engine reads NumPy's memory in place, so only references are
        kept."""
        self._open()
        check_feeds(self._path.name, self._inputs, constants, partial=True)
        self._bound.update({name: np.ascontiguousarray(array) for name, array in constants.items()})

    def run(
        self, feeds: Mapping[str, npt.NDArray], outputs: Sequence[str] | None = None
    ) -> dict[str, npt.NDArray]:
        """See ``base.Session``."""
        session = self._open()
        names = check_outputs(self._path.name, self._outputs, outputs)
        everything = {**self._bound, **feeds}
        check_feeds(self._path.name, self._inputs, everything)
        try:
            values = session.run(names, everything)
        except Exception as error:  # the engine's own exceptions share no base class
            raise BackendError(f"ONNX Runtime failed in {self._path.name}: {_first_line(error)}") from error
        return dict(zip(names, values, strict=True))

    def close(self) -> None:
        """See ``base.Session``."""
        self._session = None
        self._bound = {}

    def _open(self) -> InferenceSession:
        if self._session is None:
            raise BackendError(f"{self._path.name} was closed; load it again before running it.")
        return self._session


def _spec(path: Path, node: Any) -> TensorSpec:
    if node.type not in _DTYPES:
        raise BackendError(
            f"{path.name}: tensor {node.name!r} has the type {node.type}, which edgefoley does not feed."
        )
    # An axis without a name comes as None; it gets its place as a name.
    shape = tuple(f"axis{i}" if size is None else size for i, size in enumerate(node.shape))
    return TensorSpec(node.name, shape, _DTYPES[node.type])


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
