"""The contract of every back end: the pipeline cannot tell which one it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy.typing as npt

from edgefoley.types import TensorSpec


@dataclass(frozen=True)
class LoadOptions:
    """``threads``: compute threads of the session (None: the engine's choice made for this machine).
    ``full_range``: whether weights that are multiplied as integers may have all 8 bits; False is a promise
    that they have 7, which some processors' sums need (``processor.sums_of_16_bits``)."""

    threads: int | None = None
    full_range: bool = True


class Session(Protocol):
    """One loaded graph. ``inputs`` and ``outputs`` map names to specs."""

    @property
    def inputs(self) -> Mapping[str, TensorSpec]: ...

    @property
    def outputs(self) -> Mapping[str, TensorSpec]: ...

    def bind(self, constants: Mapping[str, npt.NDArray]) -> None:
        """Keep these inputs for all following runs (replaces earlier bindings of the same names)."""

    def run(
        self, feeds: Mapping[str, npt.NDArray], outputs: Sequence[str] | None = None
    ) -> dict[str, npt.NDArray]:
        """Compute the named ``outputs`` (None: all). Unknown, missing or ill-shaped feeds raise
        BackendError."""

    def close(self) -> None:
        """Free the memory; using the session afterwards raises BackendError."""


class Backend(Protocol):
    """An inference engine."""

    @property
    def name(self) -> str: ...

    def available(self) -> str | None:
        """None when ready, else the reason and the exact command that installs it. Imports nothing heavy."""

    def load(self, path: Path, options: LoadOptions) -> Session:
        """Open a graph file. Raises BackendUnavailableError or BackendError."""
