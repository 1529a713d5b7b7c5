"""What the tensors inside a network hold while it runs on captured inputs, in float32.

One thread, so that the sums, and with them the ranges, are the same at every run on a machine.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from edgefoley.quant.calibrate import Arrays, Sample
from edgefoley.quant.network import Network
from edgefoley.quant.observe import Observer, QuantError

Float = npt.NDArray[np.float32]
Runs = Sequence[tuple[Sample, Arrays]]
ROWS: Final = 64  # of a tensor that a run keeps, evenly spread
KEPT: Final = 512  # of a tensor in all


class Observes(Protocol):
    """What a tensor is shown to: an ``Observer``, or one for each bin of noise levels."""

    def at(self, level: float | None) -> Observer: ...


@dataclass
class Watch:
    """``rows``: tensor -> for each run some of its rows (n, K) with the run's smallest and largest value.
    ``peaks``: tensor -> noise level -> largest magnitude of each channel (K,). ``ranks``: of all tensors."""

    rows: dict[str, list[tuple[Float, float, float]]] = field(default_factory=dict)
    peaks: dict[str, dict[float | None, Float]] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)


def watch(
    network: Network,
    runs: Runs,
    work: Path,
    *,
    observers: Mapping[str, Collection[Observes]] | None = None,
    rows: Collection[str] = (),
    peaks: Collection[str] = (),
) -> Watch:
    """Run ``network`` on every captured input; every observer sees its tensor. ``work``: a folder for files
    that are deleted again. Raises QuantError for a tensor with NaN, infinity or nothing in it."""
    observers = observers or {}
    wanted = list(dict.fromkeys([*observers, *rows, *peaks]))
    found = Watch({name: [] for name in rows}, {name: {} for name in peaks})
    if not wanted:
        return found
    inner = [name for name in wanted if name not in network.inputs]
    new = [name for name in inner if name not in network.outputs]
    files = network.write(work / "watched.onnx", apart=True, extra_outputs=new)
    limit = -(-KEPT // max(len(runs), 1))
    try:
        session = open_session(files[0])
        names = {value.name for value in session.get_inputs()}
        for sample, feeds in runs:
            made = session.run(inner, {k: v for k, v in feeds.items() if k in names}) if inner else []
            values = {**feeds, **dict(zip(inner, made, strict=True))}
            for name in wanted:
                where = f"{network.component}: {name} (clip {sample.clip + 1}, noise level {sample.sigma})"
                _see(found, name, values[name], where, sample.sigma, observers.get(name, ()), limit)
        del session
    finally:
        for path in files:
            path.unlink(missing_ok=True)
    return found


def _see(
    found: Watch, name: str, value: Float, where: str, sigma: float | None,
    observers: Collection[Observes], limit: int,
) -> None:  # fmt: skip
    if value.size == 0:
        raise QuantError(f"{where} is empty.")
    if not np.isfinite(value).all():
        raise QuantError(f"{where} holds NaN or infinity.")
    for observer in observers:
        observer.at(sigma).update(value, where)
    found.ranks[name] = value.ndim
    flat = value.reshape(-1, value.shape[-1])
    if name in found.rows:
        step = max(1, len(flat) // min(ROWS, limit))
        kept = flat[step // 2 :: step][: min(ROWS, limit)].copy()
        found.rows[name].append((kept, float(value.min()), float(value.max())))
    if name in found.peaks:
        peak = np.abs(flat).max(axis=0)
        before = found.peaks[name].get(sigma)
        found.peaks[name][sigma] = peak if before is None else np.maximum(before, peak)


def values_of(network: Network, feeds: Arrays, work: Path, names: Collection[str]) -> dict[str, Float]:
    """What tensors inside ``network`` hold when it runs on ``feeds``."""
    names = list(dict.fromkeys(names))
    new = [name for name in names if name not in network.outputs]
    files = network.write(work / "shown.onnx", apart=True, extra_outputs=new)
    try:
        session = open_session(files[0])
        given = {value.name: feeds[value.name] for value in session.get_inputs()}
        return dict(zip(names, session.run(names, given), strict=True))
    finally:
        for path in files:
            path.unlink(missing_ok=True)


def open_session(path: Path, **entries: str) -> Any:
    """The graph in ONNX Runtime on one thread; ``entries``: further session configuration."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    if "optimised" in entries:
        options.optimized_model_filepath = entries.pop("optimised")
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    try:
        return onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    except Exception as error:  # the engine's own exceptions share no base class
        raise QuantError(f"ONNX Runtime cannot open {path.name}: {str(error).splitlines()[0]}") from error
