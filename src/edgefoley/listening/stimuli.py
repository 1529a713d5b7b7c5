"""The videos that listeners see and hear: every system's sound under the clip's pictures, equally loud.

For each clip all its sounds get the clip's length, two channels and one loudness (ITU-R BS.1770): that of the
quietest, so that nothing is amplified; then all are lowered together until no true peak passes -2 dBTP.
Sounds more than 30 LU below the loudest do not set the level, or one nearly silent system would silence the
test; they stay as they are, and it is said. Pictures are copied and sound is lossless (FLAC, 24 bit), so that
nothing but the systems is heard; every file is decoded again and measured. Anchors are made from the
reference: low-pass filtered at 3.5 and 7 kHz (within 0.1 dB up to there, 60 dB down from 8/7 of it on, which
is steeper than BS.1534-3 asks), and moved by 250 ms.

Files are called by a digest that holds the rating file's own salt: names tell nothing, and what was made is
not made again.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from edgefoley.listening.definition import ANCHORS, REFERENCE, SILENCE, Definition, ListeningError
from edgefoley.loudness import amplitude, as_channels, loudness_lufs, true_peak_dbtp
from edgefoley.output import Track, write_video
from edgefoley.sound_files import fitted, read_sound
from edgefoley.soundtrack import moved, read_audio
from edgefoley.source import probe
from edgefoley.timeline import SAMPLE_RATE, Timeline
from edgefoley.types import Audio

PEAK: Final = -2.0  # dBTP: what a player's resampling adds must not reach full scale
DEEPEST: Final = 30.0  # LU below the loudest sound of a clip, within which a sound sets the level
TOLERANCE: Final = 0.1  # LU between what was meant and what the finished file has
SHOWN: Final = ("h264", "vp8", "vp9", "av1", "libdav1d", "libaom-av1", "libvpx-vp9")  # browsers show these
LATE: Final = 0.250  # seconds of the sync anchor
CUTOFFS: Final = {ANCHORS["3.5 kHz"]: 3500.0, ANCHORS["7 kHz"]: 7000.0}
Say = Callable[[str], None]


@dataclass(frozen=True)
class Stimulus:
    """One finished video. ``gain_db``: what level matching did; ``lufs``: of the file as it is delivered,
    -inf for silence."""

    clip: str
    system: str
    path: Path
    gain_db: float
    lufs: float


def build(
    definition: Definition, folder: Path, salt: str, say: Say = lambda line: None
) -> Iterator[Stimulus]:
    """Make or find the videos of a test in ``folder``, clip by clip. Raises ListeningError (pictures that
    browsers do not show, a level that came out wrong) and the readers' and writers' errors."""
    folder.mkdir(parents=True, exist_ok=True)
    for clip, video in definition.videos().items():
        codec = probe(video).video_codec
        if codec not in SHOWN:
            raise ListeningError(f"{video}: browsers do not show {codec}; convert it to H.264 first.")
        sounds, notes = leveled(sounds_of(definition, clip))
        for note in notes:
            say(f"{clip}: {note}")
        for system, (audio, gain) in sounds.items():
            yield _finished(video, clip, system, audio, gain, folder, salt)


def sounds_of(definition: Definition, clip: str) -> dict[str, Audio]:
    """Every sound of a clip, two channels and as long as its pictures: systems, reference, anchors, and
    silence where a check needs it."""
    length = Timeline(sample_rate=SAMPLE_RATE).samples(probe(definition.videos()[clip]).duration)
    sounds = {
        name: fitted(read_sound(files[clip]), length)
        for name, files in definition.systems.items()
        if definition.method != "mushra" or name != definition.reference_name
    }
    if definition.reference is not None:
        reference = fitted(read_sound(definition.reference[clip]), length)
        if definition.method != "acr":
            sounds[REFERENCE] = reference
        for anchor in definition.anchors:
            sounds[anchor] = anchor_of(reference, anchor)
    if definition.silence and definition.method != "mushra":
        sounds[SILENCE] = Audio(np.zeros((2, length), np.float32), SAMPLE_RATE)
    return sounds


def anchor_of(reference: Audio, anchor: str) -> Audio:
    """The reference made worse in a known way."""
    if anchor in CUTOFFS:
        return low_pass(reference, CUTOFFS[anchor])
    return moved(reference, round(LATE * reference.rate))


def low_pass(audio: Audio, cutoff: float) -> Audio:
    """``audio`` (channels, n) without what lies above ``cutoff`` Hz: flat up to it, 60 dB down from 8/7 of it
    on, no delay."""
    taps = _taps(cutoff, audio.rate)
    channels, half = as_channels(audio), len(taps) // 2
    size = 1 << math.ceil(math.log2(channels.shape[1] + len(taps)))
    spectrum = np.fft.rfft(channels, size) * np.fft.rfft(taps, size)
    filtered = np.fft.irfft(spectrum, size)[:, half : half + channels.shape[1]]
    return Audio(filtered.astype(np.float32), audio.rate)


def leveled(sounds: Mapping[str, Audio]) -> tuple[dict[str, tuple[Audio, float]], list[str]]:
    """Sounds of one clip equally loud with their gains in dB, and what has to be said."""
    loudness = {name: loudness_lufs(audio) for name, audio in sounds.items()}
    audible = {name: value for name, value in loudness.items() if math.isfinite(value)}
    top = max(audible.values(), default=-math.inf)
    target = min((value for value in audible.values() if value >= top - DEEPEST), default=-math.inf)
    gains = {name: min(0.0, target - value) if value > target else 0.0 for name, value in audible.items()}
    peaks = {name: true_peak_dbtp(sounds[name]) + gain for name, gain in gains.items()}
    common = min(0.0, PEAK - max(peaks.values(), default=-math.inf))
    notes = [
        f"a sound is {'silent' if value == -math.inf else f'{top - value:.0f} LU below the loudest'}; "
        "its level is left as it is"
        for name, value in loudness.items()
        if name != SILENCE and value < target
    ]
    made = {}
    for name, audio in sounds.items():
        gain = gains.get(name, 0.0) + common
        made[name] = Audio((audio.samples * amplitude(gain)).astype(np.float32), audio.rate), gain
    return made, notes


def _finished(
    video: Path, clip: str, system: str, audio: Audio, gain: float, folder: Path, salt: str
) -> Stimulus:
    digest = hashlib.sha256(salt.encode())
    for part in (clip.encode(), system.encode(), audio.samples.tobytes()):
        digest.update(part + b"\0")
    path = folder / f"{digest.hexdigest()[:32]}.mp4"
    meant = loudness_lufs(audio)
    if not path.exists():
        written = write_video(path, video, [Track(audio, "Sound", lossless=True)], {}, keep_original=False)
        if written != path:
            written.unlink(missing_ok=True)
            raise ListeningError(f"{video}: MP4 cannot hold its pictures; convert it to H.264 first.")
        os.utime(path, (0, 0))  # the order in which files were made is nobody's business
    delivered = read_audio(path)
    lufs = -math.inf if delivered is None else loudness_lufs(delivered)
    if math.isfinite(meant) and abs(lufs - meant) > TOLERANCE:
        path.unlink(missing_ok=True)
        raise ListeningError(f"{clip}: a sound came out at {lufs:.1f} LUFS instead of {meant:.1f}.")
    return Stimulus(clip, system, path, gain, lufs)


@lru_cache(maxsize=4)
def _taps(cutoff: float, rate: int) -> npt.NDArray[np.float64]:
    """Windowed sinc (Kaiser, 60 dB) whose transition lies between ``cutoff`` and 8/7 of it."""
    width = cutoff / 7
    beta = 0.1102 * (60 - 8.7)  # Kaiser's formulas, from the attenuation in dB
    count = math.ceil((60 - 7.95) / (2.285 * 2 * math.pi * width / rate)) // 2 * 2 + 1
    place = np.arange(count) - count // 2
    middle = 2 * (cutoff + width / 2) / rate
    taps = middle * np.sinc(middle * place) * np.kaiser(count, beta)
    return np.asarray(taps / taps.sum(), np.float64)
