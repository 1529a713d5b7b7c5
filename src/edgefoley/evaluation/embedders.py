"""Networks that turn pieces of sound into vectors, for distances between sets of sounds. None is shipped.

``Aisfx``: the sound-effect embeddings of the package aisfx (Hagihara and others, ISMIR 2022; 44.1 kHz, 96 mel
bands, 512 values for 2.3 s). Its own requirements are pinned to old versions, so it is installed alone; its
network runs in torch. ``Tagger``: an ONNX file of the user's, see the class.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgefoley.errors import UsageError
from edgefoley.metrics.sound_onsets import decimated

Wave = npt.NDArray[np.floating]
Pieces = npt.NDArray[np.float64]
AISFX = "pip install --no-deps aisfx (and torch: pip install 'edgefoley[networks]')"
TAGGER_RATE = 16_000  # Hz
_LONGEST = 4096  # values of an embedding that still is one and no feature map


class Embedder(Protocol):
    """``name`` goes into every figure made with it."""

    name: str

    def __call__(self, wave: Wave) -> Pieces:
        """(pieces, D) of a mono wave (T,) at 48 kHz; one piece at least."""


class Aisfx:
    """See the module. ``folder``: where cnn2d.py and checkpoint.pth are; None: the installed package's."""

    name = "aisfx"

    def __init__(self, folder: Path | None = None) -> None:
        import torch

        folder = _installed() if folder is None else folder
        source, weights = folder / "cnn2d.py", folder / "checkpoint.pth"
        if not (source.is_file() and weights.is_file()):
            raise UsageError(f"{folder} holds no cnn2d.py and checkpoint.pth of the package aisfx.")
        spec = importlib.util.spec_from_file_location("aisfx_cnn2d", source)
        assert spec is not None and spec.loader is not None
        module: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        # The package's own file; it holds more than weights, so torch's strict reader refuses it.
        state, _ = torch.load(weights, map_location="cpu", weights_only=False)
        prefix = "embedding_net."
        self._torch: Any = torch
        self._net = module.EmbeddingNet("max", 3, 1, 64)
        self._net.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if prefix in k})
        self._net.eval()
        edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 22_050 / 700), 98) / 2595) - 1)
        at = np.linspace(0, 22_050, 1025)
        low, mid, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
        bank = np.minimum((at - low) / (mid - low), (high - at) / (high - mid)).clip(0)
        self._bank = (bank / (bank.sum(1, keepdims=True) + 1e-9)).T

    def __call__(self, wave: Wave) -> Pieces:
        """(pieces, 512)."""
        from scipy.signal import resample_poly

        low = resample_poly(np.asarray(wave, np.float64), 147, 160)
        low = np.pad(low / (np.abs(low).max(initial=0.0) or 1.0), 1024)
        frames = np.lib.stride_tricks.sliding_window_view(low, 2048)[::1024] * np.hanning(2049)[:2048]
        level = np.log10(np.square(np.abs(np.fft.rfft(frames))) @ self._bank * 1e4 + 1) / 9.457798957824707
        level = np.pad(level, ((0, max(0, 100 - len(level))), (0, 0)))
        blocks = np.stack([level[i : i + 100] for i in range(0, len(level) - 99, 50)])
        with self._torch.inference_mode():
            made = self._net(self._torch.tensor(blocks).float()).numpy()
        return np.asarray(made, np.float64)

    def cosine(self, made: Wave, true: Wave) -> float:
        """Mean over the pieces of two waves of one length, -1 … 1."""
        return cosine(self(made), self(true))


def cosine(first: Pieces, second: Pieces) -> float:
    """Mean cosine of rows that belong together; where one list is shorter, of those that both have."""
    count = min(len(first), len(second))
    a, b = first[:count], second[:count]
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(1) / (norms + 1e-9)).mean())


def aisfx_missing() -> str | None:
    """Why the installed package cannot be used: what to install; None where it can."""
    found = importlib.util.find_spec("aisfx") and importlib.util.find_spec("torch")
    return None if found and importlib.util.find_spec("scipy") else AISFX


def _installed() -> Path:
    spec = importlib.util.find_spec("aisfx")
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(f"aisfx is not installed: {AISFX}, or name its unpacked folder.")
    return Path(next(iter(spec.submodule_search_locations))) / "models"


class Tagger:
    """An ONNX file with one float input: a wave at 16 kHz, shape (n,) or (1, n) (YAMNet, PANNs), or log-mel
    patches (…, 96, 64) as YAMNet takes them: 0.96 s every 0.48 s. The embedding is the output of the name
    ``output``, or without it the one called like "embedding", else the first; an output of several pieces has
    one row for each. Raises UsageError for a file that is not like that."""

    def __init__(self, path: Path, output: str | None = None) -> None:
        import onnxruntime

        if not path.is_file():
            raise UsageError(f"there is no tagger {path}.")
        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has no class for "not a model"
            raise UsageError(f"{path} is no ONNX file that ONNX Runtime opens: {error}") from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)":
            told = ", ".join(f"{i.name} {i.type}" for i in inputs)
            raise UsageError(f"{path}: a tagger has one float input, this one has {told}.")
        self._input, shape = inputs[0].name, list(inputs[0].shape)
        self._patches = shape[-2:] == [96, 64]
        self._rank = len(shape)
        if not self._patches and (
            self._rank > 2 or (self._rank == 2 and isinstance(shape[0], int) and shape[0] != 1)
        ):
            raise UsageError(f"{path}: its input {shape} is neither a wave nor patches of 96 x 64.")
        self._length = shape[-1] if not self._patches and isinstance(shape[-1], int) else None
        names = [value.name for value in self._session.get_outputs()]
        if output is not None and output not in names:
            raise UsageError(f"{path} has no output {output!r}; there are {', '.join(names)}.")
        likely = [name for name in names if "embed" in name.lower()]
        self._output = output or (likely or names)[0]
        self.name = path.stem

    def __call__(self, wave: Wave) -> Pieces:
        """(pieces, D)."""
        low = decimated(np.asarray(wave, np.float64))
        if self._patches:
            fed = [patch.reshape([1] * (self._rank - 2) + [96, 64]) for patch in log_mel_patches(low)]
        else:
            fed = [w if self._rank == 1 else w[None] for w in self._waves(low)]
        rows = [self._run(array.astype(np.float32)) for array in fed]
        return np.concatenate(rows)

    def _waves(self, low: Pieces) -> Sequence[Pieces]:
        if self._length is None:
            return [np.pad(low, (0, max(0, TAGGER_RATE - len(low))))]
        whole = np.pad(low, (0, max(0, self._length - len(low))))
        return [whole[i : i + self._length] for i in range(0, len(whole) - self._length + 1, self._length)]

    def _run(self, fed: npt.NDArray[np.float32]) -> Pieces:
        made = np.asarray(self._session.run([self._output], {self._input: fed})[0], np.float64)
        rows = (
            made.reshape(-1, made.shape[-1]) if made.ndim > 1 and made.shape[-1] > 1 else made.reshape(1, -1)
        )
        if rows.shape[1] > _LONGEST:
            raise UsageError(f"output {self._output!r} has {rows.shape[1]} values a piece: no embedding.")
        return rows


def log_mel_patches(low: Pieces) -> list[Pieces]:
    """YAMNet's input of a wave (n,) at 16 kHz: patches (96, 64), natural log of 64 mel bands from 125 to 7500
    Hz (0.001 added), frames of 25 ms every 10 ms, a patch every 0.48 s."""
    low = np.pad(low, (0, max(0, 15_600 - len(low))))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = np.lib.stride_tricks.sliding_window_view(low, 400)[::160] * window

    def mel(hertz: Any) -> Pieces:
        return np.asarray(1127.0 * np.log1p(np.asarray(hertz) / 700.0), np.float64)

    bins, edges = mel(np.linspace(0, 8000, 257)), np.linspace(mel(125.0), mel(7500.0), 66)
    lower, middle, upper = edges[:-2], edges[1:-1], edges[2:]
    bank = np.minimum((bins[:, None] - lower) / (middle - lower), (upper - bins[:, None]) / (upper - middle))
    bank = bank.clip(0)
    bank[0] = 0
    level = np.log(np.abs(np.fft.rfft(frames, 512, axis=1)) @ bank + 1e-3)
    return [level[i : i + 96] for i in range(0, len(level) - 95, 48)]
