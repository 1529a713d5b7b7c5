"""How close a coded sound is to the true one. NumPy only, but for two packages that model listeners.

The distances are the usual ones: spectral convergence and log-magnitude at several resolutions (Yamamoto et
al. 2020, arXiv 1910.11480) and log mel levels. ``zimtohrli_mos`` and ``visqol_mos`` predict what listeners
would say (1 to 5); a prediction is not a listener.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Samples = NDArray[np.float64]
RESOLUTIONS = (512, 1024, 2048)  # samples; hop is a quarter
SHORTEST = 48_000  # samples that the models of listeners need; shorter sounds get silence behind them


def _pair(made: ArrayLike, true: ArrayLike) -> tuple[Samples, Samples]:
    a, b = np.asarray(made, np.float64), np.asarray(true, np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"two mono waves of one length are wanted, got {a.shape} and {b.shape}")
    return a, b


def _magnitudes(wave: Samples, window: int, hop: int) -> Samples:
    """(frames, bins); a sine of amplitude 1 has about 0.5."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    padded = np.pad(wave, (window // 2, window))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop] * hann
    return np.abs(np.fft.rfft(frames)) / hann.sum()


def stft_distance(made: ArrayLike, true: ArrayLike) -> dict[str, float]:
    """Mean over ``RESOLUTIONS`` of ``convergence`` (norm of the magnitudes' difference over the true norm)
    and ``log_db`` (mean absolute difference of the levels in dB, floor -80 dB). Waves (T,) of one length."""
    a, b = _pair(made, true)
    convergence, level = [], []
    for window in RESOLUTIONS:
        x, y = (_magnitudes(w, window, window // 4) for w in (a, b))
        convergence.append(np.linalg.norm(x - y) / max(float(np.linalg.norm(y)), 1e-9))
        level.append(np.abs(20 * np.log10((x + 1e-4) / (y + 1e-4))).mean())
    return {"convergence": float(np.mean(convergence)), "log_db": float(np.mean(level))}


def mel_filters(window: int, bands: int, rate: int = 48_000) -> Samples:
    """Triangles (bins, bands) on the mel scale from 20 Hz to rate / 2, each summing to one."""
    edges = 700 * (10 ** (np.linspace(_mel(20), _mel(rate / 2), bands + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(window, 1 / rate)[:, None]
    low, mid, high = edges[:-2], edges[1:-1], edges[2:]
    filters = np.minimum((bins - low) / (mid - low), (high - bins) / (high - mid)).clip(0)
    nearest = np.abs(bins - mid).argmin(0)
    empty = filters.sum(0) < 1e-3
    filters[nearest[empty], np.flatnonzero(empty)] = 1.0
    return np.asarray(filters / filters.sum(0), np.float64)


def _mel(frequency: float) -> float:
    return float(2595 * np.log10(1 + frequency / 700))


def log_mel_distance(made: ArrayLike, true: ArrayLike, bands: int = 128, window: int = 2048) -> float:
    """Mean absolute difference in dB of mel band levels, hop a quarter of the window, floor -80 dB re the
    power of a full-scale sine's bin."""
    a, b = _pair(made, true)
    filters = mel_filters(window, bands)
    levels = [
        10 * np.log10(np.square(2 * _magnitudes(w, window, window // 4)) @ filters + 1e-8) for w in (a, b)
    ]
    return float(np.abs(levels[0] - levels[1]).mean())


def attack_error(
    made: ArrayLike, true: ArrayLike, rate: int = 48_000, blur_s: float = 0.001
) -> tuple[float, float]:
    """For waves (T,) of one attack in silence: how late it comes (s), and its pre-echo (dB).

    Envelope: root mean square over ``blur_s``. An attack is where the envelope first comes within 20 dB of
    its own peak. Pre-echo: the made envelope's largest value up to 2 ms before the true attack over its peak.
    """
    a, b = _pair(made, true)
    count = max(1, round(blur_s * rate))
    kernel = np.full(count, 1 / count)
    x, y = (np.sqrt(np.convolve(np.square(w), kernel, "same")) for w in (a, b))
    at = [int(np.argmax(e >= 0.1 * e.max())) for e in (x, y)]
    ahead = x[: max(0, at[1] - round(0.002 * rate))]
    echo = float(ahead.max(initial=0.0)) / max(float(x.max()), 1e-12)
    return (at[0] - at[1]) / rate, 20 * float(np.log10(echo + 1e-9))


def _long_enough(wave: Samples) -> Samples:
    return np.pad(wave, (0, max(0, SHORTEST - len(wave))))


def zimtohrli_mos(made: ArrayLike, true: ArrayLike) -> float:
    """Zimtohrli's predicted mean opinion score, 1 to 5; 48 kHz. Needs the package ``zimtohrli``."""
    import zimtohrli

    a, b = (_long_enough(w).astype(np.float32) for w in _pair(made, true))
    return float(zimtohrli.mos_from_zimtohrli(zimtohrli.Pyohrli().distance(b, a)))


def visqol_mos(made: ArrayLike, true: ArrayLike) -> float:
    """ViSQOL's predicted mean opinion score in audio mode, 1 to 4.73; 48 kHz. Needs ``visqol-python``."""
    from visqol import VisqolApi

    a, b = (_long_enough(w) for w in _pair(made, true))
    judge = VisqolApi()
    judge.create(mode="audio")
    return float(judge.measure_from_arrays(b, a, 48_000).moslqo)
