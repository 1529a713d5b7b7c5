"""What every session checks before it computes, so that all back ends fail alike and in our words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from edgefoley.errors import BackendError
from edgefoley.types import TensorSpec


def check_feeds(
    where: str, inputs: Mapping[str, TensorSpec], feeds: Mapping[str, npt.NDArray], partial: bool = False
) -> None:
    """Raise BackendError unless ``feeds`` has every input (``partial``: some of them), none else, in the
    right shape.

    Fixed axes must match, free axes may be any size; nothing is cast. ``where`` names the graph in the
    message.
    """
    unknown = [name for name in feeds if name not in inputs]
    if unknown:
        raise BackendError(f"{where}: unknown inputs {unknown}; it takes {list(inputs)}.")
    missing = [name for name in inputs if name not in feeds]
    if missing and not partial:
        raise BackendError(f"{where}: missing inputs {missing}.")
    for name, array in feeds.items():
        spec, shape = inputs[name], np.shape(array)
        fits = len(shape) == len(spec.shape) and all(
            isinstance(wanted, str) or wanted == size for wanted, size in zip(spec.shape, shape, strict=True)
        )
        if not fits:
            raise BackendError(f"{where}: input {name!r} has shape {shape}, it takes {spec.shape}.")
        if np.asarray(array).dtype != np.dtype(spec.dtype):
            raise BackendError(
                f"{where}: input {name!r} is {np.asarray(array).dtype}, it takes {spec.dtype}."
            )


def check_outputs(where: str, known: Mapping[str, TensorSpec], asked: Sequence[str] | None) -> list[str]:
    """The outputs to compute: ``asked``, or all. Raises BackendError for unknown names."""
    unknown = [name for name in asked or () if name not in known]
    if unknown:
        raise BackendError(f"{where}: unknown outputs {unknown}; it puts out {list(known)}.")
    return list(known if asked is None else asked)
