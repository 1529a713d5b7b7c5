"""Figures of one clip: of each sound alone, of each against the clip's own sound, and of both against each
other. Mono waves of one length at 48 kHz; NaN where a figure has no value (a silent sound's loudness).

Distances are taken at equal loudness (-23 LUFS by gain alone), so that a louder sound is not a farther one;
loudness, peaks and clipping are those of the sounds as they are.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edgefoley.evaluation.embedders import Embedder, Pieces, cosine
from edgefoley.loudness import amplitude, as_channels, loudness_lufs, true_peak_dbtp
from edgefoley.metrics.artefacts import added_pops, cancelled, clipped_runs, mono_loss_db, pops
from edgefoley.metrics.audio_quality import log_mel_distance, stft_distance, visqol_mos, zimtohrli_mos
from edgefoley.metrics.controls import SILENT_LUFS
from edgefoley.metrics.event_scores import score_events
from edgefoley.metrics.sound_onsets import sound_onsets
from edgefoley.sound_files import fitted
from edgefoley.types import Audio

Wave = npt.NDArray[np.float64]
Figures = dict[str, float]
LEVEL: Final = -23.0  # LUFS at which sounds are compared
TOLERANCE: Final = 0.1  # seconds, of onset F1
PREDICTORS: Final = {
    "zimtohrli_predicted": (("zimtohrli",), "pip install zimtohrli"),
    "visqol_predicted": (("visqol", "libsvm"), "pip install visqol-python"),
}


@dataclass(frozen=True)
class Measure:
    """What a figure is: ``words`` and ``unit`` for people, ``better`` "higher", "lower" or "" (no side is
    better)."""

    words: str
    unit: str = ""
    better: str = ""


OWN: Final = {
    "lufs": Measure("loudness", "LUFS"),
    "true_peak_dbtp": Measure("true peak", "dBTP", "lower"),
    "silent": Measure("silent (below -60 LUFS)", "share", "lower"),
    "clipped": Measure("flat tops (clipping)", "per clip", "lower"),
    "pops": Measure("pops (sudden jumps; impacts begin like that too)", "per clip", "lower"),
    "mono_loss_db": Measure("power lost in mono (phase; 3: unrelated channels)", "dB", "lower"),
    "length_error_s": Measure("sound longer (+) or shorter (-) than the clip", "s"),
}  # fmt: skip
AGAINST_TRUE: Final = {
    "onset_f1": Measure("onsets matched within 100 ms with the clip's own sound", "F1", "higher"),
    "onset_f1_chance": Measure("the same against other clips of about the length", "F1"),
    "onset_f1_gain": Measure("onset F1 above chance", "F1", "higher"),
    "true_log_mel_db": Measure("log-mel distance from the clip's own sound", "dB", "lower"),
    "true_stft_convergence": Measure("spectral convergence to the clip's own sound", "", "lower"),
    "true_aisfx_cosine": Measure("aisfx cosine with the clip's own sound", "", "higher"),
}
BETWEEN: Final = {
    "log_mel_db": Measure("log-mel distance", "dB", "lower"),
    "stft_db": Measure("multi-resolution STFT, levels", "dB", "lower"),
    "stft_convergence": Measure("multi-resolution STFT, spectral convergence", "", "lower"),
    "zimtohrli_predicted": Measure("Zimtohrli, predicted grade of B as a copy of A (1 to 5)", "", "higher"),
    "visqol_predicted": Measure("ViSQOL, predicted grade of B as a copy of A (1 to 4.73)", "", "higher"),
    "aisfx_cosine": Measure("aisfx cosine", "", "higher"),
    "onset_f1_ab": Measure("onsets of both matched within 100 ms", "F1", "higher"),
    "added_pops": Measure("pops of B that A has not", "per clip", "lower"),
    "cancelled": Measure("share of A's audible cells missing from B", "", "lower"),
}


@dataclass(frozen=True)
class Heard:
    """One sound as it is compared: ``wave`` mono and equally loud, ``onsets`` (s)."""

    wave: Wave
    onsets: Wave
    silent: bool


def heard(audio: Audio, length: int) -> Heard:
    """``length`` samples of a sound at 48 kHz, cut or with silence behind, mono, at ``LEVEL``."""
    mono = fitted(audio, length).samples.mean(axis=0, dtype=np.float64)
    level = loudness_lufs(Audio(mono.astype(np.float32), audio.rate))
    silent = not level >= SILENT_LUFS
    wave = mono if silent else mono * amplitude(LEVEL - level)
    return Heard(wave, np.zeros(0) if silent else sound_onsets(wave), silent)


def own_figures(audio: Audio, sound: Heard, seconds: float) -> Figures:
    """Of a sound alone; ``seconds`` of the clip."""
    channels = as_channels(audio).astype(np.float64)
    level = loudness_lufs(audio)
    peak = true_peak_dbtp(audio)
    return {
        "lufs": level if math.isfinite(level) else math.nan,
        "true_peak_dbtp": peak if math.isfinite(peak) else math.nan,
        "silent": float(sound.silent),
        "clipped": float(sum(len(clipped_runs(channel)) for channel in channels)),
        "pops": float(len(pops(sound.wave))),
        "mono_loss_db": mono_loss_db(channels[:2]) if len(channels) > 1 else 0.0,
        "length_error_s": audio.seconds - seconds,
    }


def true_figures(made: Heard, true: Heard, pieces: tuple[Pieces, Pieces] | None) -> Figures:
    """Against the clip's own sound; ``pieces``: aisfx embeddings of both. Chance needs all clips: see
    ``comparison``."""
    figures = {"onset_f1": score_events(made.onsets, true.onsets, TOLERANCE).f1}
    if not (made.silent or true.silent):
        figures["true_log_mel_db"] = log_mel_distance(made.wave, true.wave)
        figures["true_stft_convergence"] = stft_distance(made.wave, true.wave)["convergence"]
        if pieces is not None:
            figures["true_aisfx_cosine"] = cosine(*pieces)
    return _whole(figures, [n for n in AGAINST_TRUE if n not in ("onset_f1_chance", "onset_f1_gain")])


def between_figures(
    a: Heard, b: Heard, pieces: tuple[Pieces, Pieces] | None, predictors: Sequence[str]
) -> Figures:
    """Of two sounds of one clip, ``b`` as a copy of ``a``. Distances of silence have no meaning and are NaN.
    ``predictors``: those of ``PREDICTORS`` that are to be asked."""
    figures: Figures = {}
    if not (a.silent or b.silent):
        stft = stft_distance(b.wave, a.wave)
        figures = {
            "log_mel_db": log_mel_distance(b.wave, a.wave),
            "stft_db": stft["log_db"],
            "stft_convergence": stft["convergence"],
            "onset_f1_ab": score_events(b.onsets, a.onsets, TOLERANCE).f1,
            "added_pops": float(len(added_pops(b.wave, a.wave))),
            "cancelled": cancelled(b.wave, a.wave),
        }
        if pieces is not None:
            figures["aisfx_cosine"] = cosine(*pieces)
        judges = {"zimtohrli_predicted": zimtohrli_mos, "visqol_predicted": visqol_mos}
        for name in predictors:
            # The models of listeners take full scale as the loudest there is.
            scale = 1.0 / max(1.0, float(np.abs(a.wave).max()), float(np.abs(b.wave).max()))
            figures[name] = judges[name](b.wave * scale, a.wave * scale)
    return _whole(figures, list(BETWEEN))


def predictors_here() -> tuple[list[str], dict[str, str]]:
    """Predictors whose package is installed, and of the others what would install it."""
    there = [name for name, (modules, _) in PREDICTORS.items() if all(map(importlib.util.find_spec, modules))]
    return there, {name: how for name, (_, how) in PREDICTORS.items() if name not in there}


def embedded(sounds: Mapping[str, Heard], embedder: Embedder) -> dict[str, Pieces]:
    """Clip -> pieces, of the sounds that are not silent."""
    return {clip: embedder(sound.wave) for clip, sound in sounds.items() if not sound.silent}


def _whole(figures: Figures, names: Sequence[str]) -> Figures:
    return {name: figures.get(name, math.nan) for name in names}
