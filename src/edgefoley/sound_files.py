"""Read a sound from a file of its own, and find the sound of each clip in a folder of them.

``soundtrack`` reads the sound of a video on the video's clock; here a file may hold nothing but sound, and
begins with its first sample.

Layer 1: numpy and PyAV.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from edgefoley.errors import MediaReadError, UsageError
from edgefoley.loudness import as_channels
from edgefoley.soundtrack import read_audio
from edgefoley.source import open_source
from edgefoley.timeline import SAMPLE_RATE
from edgefoley.types import Audio

SOUND_SUFFIXES = (".aac", ".aif", ".aiff", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wav")
VIDEO_SUFFIXES = (".m4v", ".mkv", ".mov", ".mp4", ".webm")
_FOLEY = re.compile(r"\.foley$")


def stem_of(path: str | os.PathLike[str]) -> str:
    """The clip's name that a file belongs to: its own without suffix, and without the ``.foley`` that
    ``edgefoley generate`` adds."""
    return _FOLEY.sub("", Path(path).stem)


def sounds_in(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Clip's name -> sound file, of everything directly inside ``folder``, sorted. A video counts as the
    sound in it, unless a file of sound alone has the same name. Hidden files and further takes
    (``.foley.take2``) are left out. Raises UsageError for no folder and for two sounds of one name."""
    root = Path(folder)
    if not root.is_dir():
        raise UsageError(f"{root} is no folder of sounds; name one that holds a file for each clip.")
    found: dict[str, Path] = {}
    for suffixes in (SOUND_SUFFIXES, VIDEO_SUFFIXES):
        here: dict[str, Path] = {}
        for path in _files(root, suffixes):
            stem = stem_of(path)
            if stem in here:
                raise UsageError(f"{here[stem]} and {path} are both sounds of {stem!r}; keep one of them.")
            here[stem] = path
        found = {**here, **found}
    return dict(sorted(found.items()))


def read_sound(path: str | os.PathLike[str], rate: int = SAMPLE_RATE) -> Audio:
    """All sound of a file as (channels, n) float32 at ``rate`` Hz; more than two channels become two. Of a
    video: the sound on the pictures' clock, as long as they are.

    Raises MediaReadError: missing, empty, damaged, without sound, or with values that are not finite.
    """
    path = Path(path)
    audio = read_audio(path, rate) if _has_pictures(path) else _sound_alone(path, rate)
    if audio is None or audio.samples.size == 0:
        raise MediaReadError(f"{path} holds no sound; make it again, or leave this clip out.")
    if not np.isfinite(audio.samples).all():
        raise MediaReadError(f"{path} holds values that are not finite (NaN); make it again.")
    return audio


def fitted(audio: Audio, length: int) -> Audio:
    """Two channels (one is doubled) and ``length`` samples: cut, or silence behind."""
    channels = as_channels(audio)
    out = np.zeros((2, length), np.float32)
    part = channels[:, :length]
    out[:, : part.shape[1]] = part  # one channel goes to both
    return Audio(out, audio.rate)


def _files(root: Path, suffixes: Iterable[str]) -> list[Path]:
    return sorted(
        path
        for path in root.iterdir()
        if path.suffix.lower() in suffixes
        and not path.name.startswith(".")
        and not re.search(r"\.foley\.take\d+$", path.stem)
        and path.is_file()
    )


def _has_pictures(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _sound_alone(path: Path, rate: int) -> Audio | None:
    with open_source(path) as container:
        streams = [stream for stream in container.streams.audio if stream.codec_context is not None]
        if not streams:
            return None
        layout = "mono" if streams[0].codec_context.channels == 1 else "stereo"
        resampler = AudioResampler(format="fltp", layout=layout, rate=rate)
        blocks = []
        try:
            for frame in container.decode(streams[0]):
                if isinstance(frame, AudioFrame):
                    frame.pts = None  # a file of sound has no holes worth keeping
                    blocks += [piece.to_ndarray() for piece in resampler.resample(frame)]
            blocks += [piece.to_ndarray() for piece in resampler.resample(None)]
        except av.FFmpegError as error:
            raise MediaReadError(f"{path} is damaged or cut off ({error.strerror}).") from error
    if not blocks:
        return None
    return Audio(np.concatenate(blocks, axis=1).astype(np.float32, copy=False), rate)
