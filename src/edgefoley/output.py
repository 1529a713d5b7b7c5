"""Write results: WAV files, and videos with new sound tracks whose pictures are copied bit by bit.

**Nothing partial remains.** A file grows under a hidden name in the target's folder (``.NAME.PID.part``) and
takes its name in one step when it is complete. Any error or Ctrl-C removes it; only a killed process
(SIGKILL, power cut) can leave the hidden file behind.

**Excerpts.** Cutting pictures at any frame needs re-encoding, and edit lists are ignored by many players. So
a sound made for [start, end) is written into the *whole* video: silence, the sound at ``start``, silence.
That is right in every container and player, and no picture is lost.

Layer 1: numpy and PyAV.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from edgefoley.errors import MediaReadError, NumericError, OutputError, UsageError
from edgefoley.loudness import as_channels
from edgefoley.mux import ContainerCannotHoldError, Track, mux
from edgefoley.source import excerpt, inspect
from edgefoley.timeline import Timeline
from edgefoley.types import Audio

__all__ = ["Track", "check_target", "read_wav_tags", "write_video", "write_wav"]

Subtype = Literal["PCM_16", "PCM_24", "FLOAT"]

# RIFF INFO names of the common tags; every other tag becomes a line of the comment.
_INFO = {
    "title": b"INAM",
    "artist": b"IART",
    "comment": b"ICMT",
    "copyright": b"ICOP",
    "date": b"ICRD",
    "genre": b"IGNR",
    "software": b"ISFT",
}
_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
_BITS = {"PCM_16": 16, "PCM_24": 24, "FLOAT": 32}
_RIFF_LIMIT = (1 << 32) - (1 << 20)  # bytes of sound; the rest is for the header and the tags


def write_wav(
    path: str | Path,
    audio: Audio,
    metadata: Mapping[str, str],
    overwrite: bool = False,
    subtype: Subtype = "PCM_24",
) -> Path:
    """Write a WAV file; returns its path. Samples outside [-1, 1] are clipped in the PCM types.

    ``metadata``: title, artist, comment, copyright, date, genre and software have fields of their own in the
    file's INFO list; others follow in the comment, one ``name: value`` per line, UTF-8.

    Raises OutputError (exists, no folder, no permission, disk full), NumericError for NaN, UsageError for a
    subtype.
    """
    path = Path(path)
    channels = as_channels(audio)
    if subtype not in _BITS:
        raise UsageError(f"unknown WAV subtype {subtype!r}; known are {', '.join(_BITS)}")
    bits = _BITS[subtype]
    if channels.size * bits // 8 > _RIFF_LIMIT:
        raise OutputError(f"{path} would exceed the 4 GiB that a WAV file can hold; write a shorter excerpt")
    if not np.isfinite(channels).all():
        raise NumericError(f"{path} is not written: the sound holds NaN or infinity")
    code, frame = (3 if subtype == "FLOAT" else 1), channels.shape[0] * bits // 8
    form = struct.pack("<HHIIHH", code, channels.shape[0], audio.rate, audio.rate * frame, frame, bits)
    chunks = [(b"fmt ", form)]
    if subtype == "FLOAT":
        chunks.append((b"fact", struct.pack("<I", channels.shape[1])))
    chunks.append((b"LIST", b"INFO" + b"".join(_chunk(*tag) for tag in _tags(metadata))))
    chunks.append(
        (b"data", channels.T.astype("<f4").tobytes() if subtype == "FLOAT" else _pcm(channels, bits))
    )
    size = 4 + sum(8 + len(body) + len(body) % 2 for _, body in chunks)
    with _growing(path, overwrite) as file:
        file.write(b"RIFF" + struct.pack("<I", size) + b"WAVE")
        for name, body in chunks:
            file.write(_chunk(name, body))
    return path


def write_video(
    path: str | Path,
    source: str | Path,
    tracks: Sequence[Track],
    metadata: Mapping[str, str],
    keep_original: bool,
    start: Fraction | None = None,
    end: Fraction | None = None,
    overwrite: bool = False,
) -> Path:
    """Copy ``source``'s pictures and give them new sound tracks; returns the path really written.

    The packets of the pictures, the rotation, subtitles and chapters are copied. New tracks come first, as
    AAC at 192 kbit/s whose decoded true peak stays under the track's ceiling (or lossless, see Track); with
    ``keep_original`` the original sound tracks follow, copied. ``path`` ends in .mp4, .m4v, .mov or .mkv;
    where MP4/MOV cannot hold a stream, the same name with .mkv is written instead (see the returned path).
    What no container can hold (data streams) is left out with a MediaWarning. With ``start``/``end`` the
    tracks hold that excerpt only: see the module's text.

    Raises OutputError, UsageError (ending, excerpt, lengths of tracks) and the reader's errors.
    """
    path, source = Path(path), Path(source)
    if path.suffix.lower() not in _FORMATS:
        raise UsageError(
            f"{path.name}: videos are written as .mp4, .m4v, .mov or .mkv; choose one of these endings"
        )
    clip = inspect(source)
    check_target(path, overwrite, source)
    begin, stop = excerpt(source, clip.info.duration, start, end)
    placed = [_placed(track, begin, stop, clip.info.duration) for track in tracks]
    tags = _video_tags(metadata)
    form = _FORMATS[path.suffix.lower()]
    try:
        with _growing(path, overwrite) as file:
            mux(file, form, clip, placed, tags, keep_original)
        return path
    except ContainerCannotHoldError as error:
        if form == "matroska":
            raise OutputError(
                f"{path}: neither MP4 nor MKV can hold {error}; convert the video first"
            ) from error
    path = path.with_suffix(".mkv")
    check_target(path, overwrite, source)
    try:
        with _growing(path, overwrite) as file:
            mux(file, "matroska", clip, placed, tags, keep_original)
    except ContainerCannotHoldError as error:
        raise OutputError(f"{path}: neither MP4 nor MKV can hold {error}; convert the video first") from error
    return path


def check_target(path: str | Path, overwrite: bool = False, source: str | Path | None = None) -> None:
    """Raise OutputError now rather than after the work: target exists, is a folder or ``source`` itself, its
    folder is missing or not writable.
    """
    path = Path(path)
    folder = path.parent
    if path.is_dir():
        raise OutputError(f"{path} is a folder; name a file")
    if not folder.exists():
        raise OutputError(f"{path} cannot be written: there is no folder {folder}; make it first")
    if not folder.is_dir():
        raise OutputError(f"{path} cannot be written: {folder} is not a folder")
    if source is not None and path.exists() and path.samefile(source):
        raise OutputError(f"{path} is the input itself and is never overwritten; choose another name")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already; allow overwriting (--overwrite) or choose another name")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{path} cannot be written: no permission in {folder}")


def read_wav_tags(path: str | Path) -> dict[str, str]:
    """The tags of a WAV file as ``write_wav`` wrote them. Raises MediaReadError when it is no WAV file."""
    data = Path(path).read_bytes()
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise MediaReadError(f"{path} is not a WAV file")
    names = {code: name for name, code in _INFO.items()}
    tags: dict[str, str] = {}
    for name, body in _chunks(data[12:]):
        if name == b"LIST" and body[:4] == b"INFO":
            for code, text in _chunks(body[4:]):
                if code in names:
                    tags[names[code]] = text.rstrip(b"\0").decode("utf-8", "replace")
    return tags


@contextmanager
def _growing(path: Path, overwrite: bool) -> Iterator[BinaryIO]:
    """A file that gets its name only when everything was written; on any exception nothing remains."""
    check_target(path, overwrite)
    growing = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            with growing.open("w+b") as file:
                yield file
            check_target(path, overwrite)  # somebody may have made it meanwhile
            os.replace(growing, path)
        finally:
            growing.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error}); {_advice(error)}"
        ) from error


def _advice(error: OSError) -> str:
    return "free some space or choose another folder" if error.errno == 28 else "choose another folder"


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(data):
        (size,) = struct.unpack_from("<I", data, at + 4)
        yield data[at : at + 4], data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _pcm(channels: np.ndarray, bits: int) -> bytes:
    """Interleaved little-endian integers, rounded to nearest, without dither: the same bytes every time."""
    top = 1 << (bits - 1)
    whole = np.clip(np.rint(channels.T.astype(np.float64) * top), -top, top - 1).astype("<i4")
    if bits == 16:
        return whole.astype("<i2").tobytes()
    return whole.reshape(-1, 1).view(np.uint8).reshape(-1, 4)[:, :3].tobytes()


def _folded(metadata: Mapping[str, str]) -> dict[str, str]:
    """Tags without a field of their own become lines of the comment."""
    tags = {name: value for name, value in metadata.items() if name in _INFO}
    lines = [tags["comment"]] if "comment" in tags else []
    lines += [f"{name}: {value}" for name, value in metadata.items() if name not in _INFO]
    return tags | ({"comment": "\n".join(lines)} if lines else {})


def _tags(metadata: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(_INFO[name], value.encode() + b"\0") for name, value in _folded(metadata).items()]


def _video_tags(metadata: Mapping[str, str]) -> dict[str, str]:
    """MP4 and Matroska know ``encoder``, but FFmpeg writes its own name there: the software goes to the
    comment.
    """
    return _folded({("made with" if name == "software" else name): value for name, value in metadata.items()})


def _placed(track: Track, begin: Fraction, stop: Fraction, duration: Fraction) -> Track:
    """The track as long as the whole video, its sound at ``begin``."""
    timeline = Timeline(sample_rate=track.audio.rate)
    samples = as_channels(track.audio)
    length = samples.shape[1]
    if length != timeline.samples(stop - begin):
        raise UsageError(
            f"track {track.title!r} is {length} samples long, the excerpt {timeline.samples(stop - begin)}"
        )
    first, total = timeline.samples(begin) if begin else 0, timeline.samples(duration)
    whole = np.zeros((samples.shape[0], max(total, first + length)), dtype=np.float32)
    whole[:, first : first + length] = samples
    return replace(track, audio=Audio(whole[:, :total], track.audio.rate))
