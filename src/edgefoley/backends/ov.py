"""OpenVINO on the CPU, with the same ONNX files as ONNX Runtime.

By itself OpenVINO chooses speed over agreement: on a processor with bfloat16 units it computes a float32
graph in bfloat16, and where weights are stored in 8 bits it rounds activations to 8 bits too (1 % of nano's
velocity). Here nothing is rounded unasked: ``OvOptions.precision`` is "f32", the rounding of activations is
off. What runs is then the graph as written, up to the order of additions (4e-7 of nano's velocity).

A reduced precision applies to a whole graph, which needs two exceptions (``_wants_f32``, ``_keep_apart``).

Weights in an external data file are memory-mapped, not read. The Python package reports its import to its
makers unless it is told otherwise; ``_import_openvino`` keeps it quiet. Not imported before ``load``.
"""

from __future__ import annotations

import operator
import platform
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgefoley.backends.base import LoadOptions
from edgefoley.backends.feeds import check_feeds, check_outputs
from edgefoley.backends.threads import default_threads
from edgefoley.errors import BackendError, BackendUnavailableError, UsageError
from edgefoley.types import TensorSpec

INSTALL = 'python -m pip install "edgefoley[openvino]"'

Precision = Literal["f32", "bf16", "f16"]
_CAPABILITY = {"f32": "FP32", "bf16": "BF16", "f16": "FP16"}  # what the engine calls them in its list
_DTYPES = {
    "f32": "float32",
    "f16": "float16",
    "f64": "float64",
    "u8": "uint8",
    "i8": "int8",
    "i32": "int32",
    "i64": "int64",
    "boolean": "bool",
}
_FLOATS = ("f32", "f16", "bf16", "f64")
_PRODUCTS = ("MatMul", "Convolution", "GroupConvolution", "ConvolutionBackpropData")
_LARGEST = float(np.finfo(np.float32).max)
# Where in the engine's sources a failure was noticed, which tells nothing to whoever reads the message.
_ORIGIN = re.compile(
    r"(Exception from|Check '.*' failed at) \S+:\d+:|Caught exception:|FrontEnd API failed with \w+:"
)
_importing = Lock()


@dataclass(frozen=True)
class OvOptions:
    """How graphs are compiled.

    ``precision``: what is computed in. "f32" agrees with ONNX Runtime. "bf16" (x86 with AVX-512 BF16 or AMX)
    and "f16" (ARM) are faster where the processor has units for them, and change the sound; asking for one
    that the processor lacks is an error. ``mmap``: map the weights of external data files instead of reading
    them. ``cache``: an existing or new folder that keeps compiled graphs for the next start (None: nothing
    is written).
    """

    precision: Precision = "f32"
    mmap: bool = True
    cache: Path | None = None


DEFAULT_OPTIONS = OvOptions()


class OvBackend:
    """OpenVINO's CPU device. Raises UsageError for an unknown precision."""

    name = "ov"

    def __init__(self, options: OvOptions = DEFAULT_OPTIONS) -> None:
        if options.precision not in _CAPABILITY:
            known = ", ".join(_CAPABILITY)
            raise UsageError(f"unknown precision {options.precision!r} of OpenVINO; known: {known}.")
        self.options = options

    def available(self) -> str | None:
        """See ``base.Backend``."""
        spec = find_spec("openvino")
        if spec is None or spec.origin is None:  # no origin: an empty folder that a removal left behind
            return f"OpenVINO is not installed. Install it with: {INSTALL}"
        return None

    def load(self, path: Path, options: LoadOptions) -> OvSession:
        """See ``base.Backend``. ``options.threads`` None: one thread per physical core that may be used."""
        reason = self.available()
        if reason is not None:
            raise BackendUnavailableError(reason)
        if not path.is_file():
            raise BackendError(f"OpenVINO cannot open {path}: no such file.")
        openvino = _import_openvino()
        try:
            core = openvino.Core()
            self._check_precision(core)
            # Its ONNX reader, not `core.read_model`, which tries a file as every format that it knows.
            reader = openvino.frontend.FrontEndManager().load_by_framework("onnx")
            model = reader.convert(reader.load(str(path), enable_mmap=self.options.mmap))
            if not model.outputs:  # an empty file is a valid protobuf message
                raise BackendError(f"OpenVINO cannot open {path}: it holds no ONNX graph.")
            _turn_shared_weights(openvino, model)
            compiled = core.compile_model(model, "CPU", self._properties(openvino, model, options))
            return OvSession(path, openvino, compiled)
        except BackendError:
            raise
        except Exception as error:  # the engine's own exceptions share no base class
            raise BackendError(f"OpenVINO cannot open {path}: {_telling(error)}") from error

    def _properties(self, openvino: Any, model: Any, options: LoadOptions) -> dict[str, Any]:
        """The engine's settings for ``model``, which is prepared for a reduced precision in place."""
        precision = self.options.precision
        if precision != "f32":
            if _wants_f32(model):
                precision = "f32"
            else:
                _keep_apart(openvino, model)
        return {
            "INFERENCE_PRECISION_HINT": precision,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,  # by default 32, which rounds activations to 8 bits
            "INFERENCE_NUM_THREADS": default_threads() if options.threads is None else options.threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # two processes would be pinned to the same cores
            "CACHE_DIR": "" if self.options.cache is None else str(self.options.cache),
        }

    def _check_precision(self, core: Any) -> None:
        wanted = self.options.precision
        able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if _CAPABILITY[wanted] not in able:
            raise BackendError(
                f"OpenVINO cannot compute in {wanted} on this processor "
                f"(only in {', '.join(name for name, word in _CAPABILITY.items() if word in able)}). Use f32."
            )
        if wanted == "f16" and platform.machine().lower() in ("x86_64", "amd64"):
            raise BackendError(  # FP16 is among the capabilities all the same
                "OpenVINO has no f16 convolutions for x86 processors: they take more than a hundred times "
                "as long as in f32. Use bf16 or f32."
            )


class OvSession:
    """One compiled graph, one run at a time; see ``base.Session``. All outputs are computed whatever is asked
    for."""

    def __init__(self, path: Path, openvino: Any, compiled: Any) -> None:
        self._path, self._tensor = path, openvino.Tensor
        self._request: Any = compiled.create_infer_request()
        self._bound: dict[str, npt.NDArray] = {}
        inputs, outputs = (
            [_spec(path, port) for port in side] for side in (compiled.inputs, compiled.outputs)
        )
        self._inputs = {spec.name: spec for spec in inputs}
        self._outputs = {spec.name: spec for spec in outputs}

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """See ``base.Session``."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """See ``base.Session``."""
        return self._outputs

    def bind(self, constants: Mapping[str, npt.NDArray]) -> None:
        """See ``base.Session``. The engine reads NumPy's memory in place, so only references are kept."""
        self._open()
        check_feeds(self._path.name, self._inputs, constants, partial=True)
        self._bound.update({name: _readable(array) for name, array in constants.items()})

    def run(
        self, feeds: Mapping[str, npt.NDArray], outputs: Sequence[str] | None = None
    ) -> dict[str, npt.NDArray]:
        """See ``base.Session``."""
        request = self._open()
        names = check_outputs(self._path.name, self._outputs, outputs)
        everything = {**self._bound, **feeds}
        check_feeds(self._path.name, self._inputs, everything)
        try:
            for index, name in enumerate(self._inputs):
                tensor = self._tensor(_readable(everything[name]), shared_memory=True)
                request.set_input_tensor(index, tensor)
            # Not `infer`: with one thread it returns as if all were well when a layer fails (2026.4.1).
            request.start_async()
            request.wait()
        except Exception as error:  # the engine's own exceptions share no base class
            raise BackendError(f"OpenVINO failed in {self._path.name}: {_telling(error)}") from error
        # Copies: the engine writes its next results into the same memory.
        places = {name: index for index, name in enumerate(self._outputs)}
        return {name: np.array(request.get_output_tensor(places[name]).data) for name in names}

    def close(self) -> None:
        """See ``base.Session``. The request holds the compiled graph, and with it everything."""
        self._request = None
        self._bound = {}

    def _open(self) -> Any:
        if self._request is None:
            raise BackendError(f"{self._path.name} was closed; load it again before running it.")
        return self._request


def _import_openvino() -> Any:
    """The package, imported so that it reports nothing.

    On import it sends an event to Google Analytics through the package ``openvino_telemetry``, unless a file
    in the home folder objects. Where that package is missing it goes without, so it is hidden for as long as
    the import takes. An import that came before ours is not undone.
    """
    try:
        with _importing, _hidden("openvino_telemetry"):
            import openvino
            import openvino.frontend
            import openvino.opset13
    except (ImportError, OSError) as error:
        raise BackendUnavailableError(
            f"OpenVINO is installed but does not start ({error}). Reinstall it with: {INSTALL}"
        ) from error
    return openvino


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Importing module ``name`` fails meanwhile."""
    modules: dict[str, Any] = sys.modules
    before = modules.get(name)
    modules[name] = None
    try:
        yield
    finally:
        del modules[name]
        if before is not None:
            modules[name] = before


def _wants_f32(model: Any) -> bool:
    """Whether the graph takes sine or cosine of an input without a product of matrices in between.

    Such is the embedding of the diffusion time: an angle of up to 1000 rad has steps of 4 rad in bfloat16,
    and the embedding is wrong by a fifth. These graphs are small and run once per schedule.
    """
    waiting = [op for op in model.get_ops() if op.get_type_name() in ("Sin", "Cos")]
    seen: set[str] = set()
    while waiting:
        op = waiting.pop()
        if op.get_friendly_name() in seen or op.get_type_name() in (*_PRODUCTS, "ShapeOf"):
            continue
        seen.add(op.get_friendly_name())
        if op.get_type_name() == "Parameter" and op.get_element_type().get_type_name() in _FLOATS:
            return True
        waiting += [source.get_node() for source in op.input_values()]
    return False


def _keep_apart(openvino: Any, model: Any) -> None:
    """Keep the engine from fusing gated feed-forward layers, (silu(a x) * b x) c, on processors with AMX.

    Its fused layer divides by zero when it has one thread and takes the whole process with it (SIGFPE while
    compiling, 2026.4.1). A clamp that no float32 exceeds, on b x, is enough for it not to see the pattern.
    """
    kind = operator.methodcaller("get_type_name")
    for op in model.get_ordered_ops():
        targets = op.output(0).get_target_inputs() if kind(op) == "Multiply" else ()
        if not any(kind(target.get_node()) == "MatMul" for target in targets):
            continue
        for side in op.inputs():
            source = side.get_source_output()
            if kind(source.get_node()) == "MatMul":
                side.replace_source_output(openvino.opset13.clamp(source, -_LARGEST, _LARGEST).output(0))


def _turn_shared_weights(openvino: Any, model: Any) -> None:
    """Give a product with the transpose of weights a copy of them where something else uses them too.

    Two products with one square matrix, as it is and transposed, get the same packed weights, and one of
    them is wrong (2026.4.1). nano's decoder in float32 has such a pair: cosines, there and back.
    """
    for op in model.get_ordered_ops():
        if op.get_type_name() != "Transpose":
            continue
        weights, order = (op.input_value(i).get_node() for i in (0, 1))
        both = weights.get_type_name() == order.get_type_name() == "Constant"
        if both and len(weights.output(0).get_target_inputs()) > 1:
            turned = np.ascontiguousarray(weights.get_data().transpose(order.get_data()))
            op.output(0).replace(openvino.opset13.constant(turned).output(0))


def _readable(array: npt.NDArray) -> npt.NDArray:
    """``array`` as the engine takes it in place: contiguous, and writable although it is only read."""
    return np.require(array, requirements=("C", "W"))


def _spec(path: Path, port: Any) -> TensorSpec:
    """Name, shape and type of one input or output; a free axis is named after its place."""
    # A tensor may have several names, also those of nodes that were optimised away; its node has the graph's.
    name = port.get_node().get_friendly_name().removesuffix("/sink_port_0")
    if name not in port.get_names():
        name = port.get_any_name()
    kind = port.get_element_type().get_type_name()
    if kind not in _DTYPES:
        raise BackendError(f"{path}: tensor {name!r} has the type {kind}, which edgefoley does not feed.")
    shape = tuple(
        axis.get_length() if axis.is_static else f"axis{i}" for i, axis in enumerate(port.get_partial_shape())
    )
    return TensorSpec(name, shape, _DTYPES[kind])


def _telling(error: Exception) -> str:
    """The engine's message on one line, without the places in its sources."""
    lines = (line.strip() for line in _ORIGIN.sub("", str(error)).splitlines())
    return " ".join(line for line in lines if line) or type(error).__name__
