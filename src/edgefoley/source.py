"""Open a media file safely and say what its picture is: duration, time zero, rotation.

The header is not believed blindly. Time zero is the time stamp of the first frame that decodes (a container
may start anywhere: MPEG-TS at 1.4 s, an edit list at -0.04 s), and the end is the end of the last packet,
found by looking at the file's tail, because truncated and live-recorded files carry a duration that is wrong
or missing.

Layer 1: numpy and PyAV.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from edgefoley.errors import MediaReadError, NoVideoStreamError, UsageError
from edgefoley.types import ByteArray, VideoInfo

# Demuxers that draw text files as pictures: a renamed or mistaken text file must not become a "video".
_TEXT_ART = frozenset({"tty", "bin", "xbin", "adf", "idf"})


_TAIL = Fraction(2)  # seconds at the end of a file that are looked at to find where it ends


class MediaWarning(UserWarning):
    """A clip was read or written, but something in it was damaged or could not be kept."""


@dataclass(frozen=True)
class Orientation:
    """What the display matrix asks for: first swap the axes, then mirror left-right and top-bottom."""

    swap: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    @classmethod
    def of(cls, frame: VideoFrame) -> Orientation:
        """Read the display matrix of a decoded frame; angles between the quarter turns go to the nearest one.

        A point (p, q) of the stored picture is shown at (a p + c q, b p + d q); y points down.
        """
        try:
            data = cast(Mapping[Any, Any], frame.side_data)[SideDataType.DISPLAYMATRIX]
        except KeyError:
            return cls()
        except ValueError:  # a kind of side data that this PyAV does not know: it still tells the angle
            return _FROM_ANGLE[round(frame.rotation / 90) % 4]
        a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(data), dtype=np.int32)[:5])
        if abs(b) > abs(a):
            return cls(swap=True, mirror_x=c < 0, mirror_y=b < 0)
        return cls(mirror_x=a < 0, mirror_y=d < 0)

    @property
    def clockwise(self) -> int:
        """Degrees clockwise to show the picture upright: 0, 90, 180 or 270 (a mirror image is not told
        apart)."""
        if self.swap:
            return 270 if self.mirror_y else 90
        return 180 if self.mirror_x else 0

    def apply(self, picture: ByteArray) -> ByteArray:
        """Turn a stored picture (h, w) or (h, w, 3) upright. Returns a view."""
        if self.swap:
            picture = picture.swapaxes(0, 1)
        if self.mirror_x:
            picture = picture[:, ::-1]
        return picture[::-1] if self.mirror_y else picture


# By quarter turns counter-clockwise, PyAV's way of counting.
_FROM_ANGLE = (
    Orientation(),
    Orientation(swap=True, mirror_y=True),
    Orientation(mirror_x=True, mirror_y=True),
    Orientation(swap=True, mirror_x=True),
)


@dataclass(frozen=True)
class Source:
    """``info`` for everybody; ``origin`` (seconds on the container's clock) is the clip's time zero."""

    info: VideoInfo
    origin: Fraction
    frame_duration: Fraction
    orientation: Orientation


def probe(path: str | Path) -> VideoInfo:
    """Describe the first video stream of a file.

    Raises MediaReadError (missing, folder, empty, no permission, corrupt, no decoder) or NoVideoStreamError
    (sound only, cover art only, still picture).
    """
    return inspect(path).info


def inspect(path: str | Path) -> Source:
    """``probe`` with the clock and the orientation that the readers need. Decodes one frame; same errors."""
    path = Path(path)
    with open_source(path) as container:
        stream = video_stream(container, path)
        stream.thread_type = "SLICE"  # frame threads would read ahead for a single picture
        first = _first_frame(container, stream, path)
        # 25: what FFmpeg itself takes for raw streams without a clock.
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        frame_duration = 1 / Fraction(rate)
        origin = Fraction(0) if first.pts is None else first.pts * Fraction(first.time_base or 1)
        orientation = Orientation.of(first)
        width, height = first.width, first.height
        audio = container.streams.best("audio")
        info = VideoInfo(
            path=path,
            duration=_end(container, stream, frame_duration) - origin,
            frame_rate=Fraction(rate),
            size=(height, width) if orientation.swap else (width, height),
            rotation=orientation.clockwise,
            video_codec=stream.codec_context.name,
            audio_codec=None if audio is None or audio.codec_context is None else audio.codec_context.name,
        )
    if info.duration <= 0:
        raise MediaReadError(f"{path}: its pictures have no duration; the file is damaged or was cut off")
    return Source(info, origin, frame_duration, orientation)


def open_source(path: str | Path) -> InputContainer:
    """Open a media file for reading, with words for everything that can be wrong with a path or a file."""
    path = Path(path)
    try:
        if not path.exists():
            raise MediaReadError(f"{path}: there is no such file; check the path")
        if path.is_dir():
            raise MediaReadError(f"{path} is a folder, not a video file; name a file in it")
        if not path.is_file():
            raise MediaReadError(f"{path} is not a regular file; copy the video into one first")
        with path.open("rb") as file:
            if not file.read(1):
                raise MediaReadError(f"{path} is empty (0 bytes); it was not fully written or copied")
    except PermissionError as error:
        raise MediaReadError(
            f"{path}: no permission to read it; change its permissions or copy it"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise MediaReadError(f"{path}: it cannot be read ({error})") from error
    try:
        # An absolute path can never be mistaken for a protocol ("data:clip.mp4").
        container = av.open(str(path.absolute()), metadata_errors="replace")
    except (av.FFmpegError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaReadError(
            f"{path} is not a video that FFmpeg can read, or it is damaged or cut off ({reason})"
        ) from error
    name = container.format.name
    if name in _TEXT_ART:
        container.close()
        raise MediaReadError(f"{path} is a text file, not a video")
    if name.endswith("_pipe") or name == "image2":
        container.close()
        raise NoVideoStreamError(
            f"{path} is a still picture ({name.removesuffix('_pipe')}); a video is needed"
        )
    return container


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first stream of moving pictures; cover art does not count."""
    unreal = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [stream for stream in container.streams.video if not stream.disposition & unreal]
    if not streams:
        what = "only sound" if container.streams.audio else "no pictures"
        raise NoVideoStreamError(f"{path} holds {what}; a file with a video stream is needed")
    if streams[0].codec_context is None:
        raise MediaReadError(f"{path}: FFmpeg has no decoder for its pictures; convert it to H.264 first")
    return streams[0]


def excerpt(
    path: Path, duration: Fraction, start: Fraction | None, end: Fraction | None
) -> tuple[Fraction, Fraction]:
    """The asked excerpt [start, end) in seconds on the clip's clock, checked. Raises UsageError."""
    begin = Fraction(0) if start is None else Fraction(start)
    stop = duration if end is None else Fraction(end)
    seconds = float(duration)
    if begin < 0 or begin >= duration:
        raise UsageError(f"start {float(begin):g} s is outside {path.name}, which lasts {seconds:.3f} s")
    # The printed length is rounded to the millisecond: who types it back means the end.
    if duration < stop <= duration + Fraction(1, 1000):
        stop = duration
    if stop > duration:
        raise UsageError(f"end {float(stop):g} s is outside {path.name}, which lasts {seconds:.3f} s")
    if stop <= begin:
        raise UsageError(f"end {float(stop):g} s must be after start {float(begin):g} s")
    return begin, stop


def packets(container: InputContainer, stream: av.stream.Stream, path: Path) -> Iterator[av.Packet]:
    """Demux one stream; a read error in the middle ends it with a MediaWarning instead of losing what came
    before."""
    try:
        yield from container.demux(stream)
    except av.FFmpegError as error:
        warnings.warn(
            f"{path}: reading stopped early ({error.strerror}); the rest is missing",
            MediaWarning,
            stacklevel=2,
        )


def _first_frame(container: InputContainer, stream: VideoStream, path: Path) -> VideoFrame:
    for packet in packets(container, stream, path):
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue  # counted and reported by the reader; here only one good picture matters
        for frame in frames:
            if not frame.is_corrupt:
                return frame
    raise MediaReadError(f"{path}: none of its pictures can be decoded; the file is damaged or cut off")


def _end(container: InputContainer, stream: VideoStream, frame_duration: Fraction) -> Fraction:
    """When the last picture stops being shown, in seconds on the container's clock."""
    base = Fraction(stream.time_base or Fraction(1, 1000))
    stated = None
    if stream.duration:
        stated = ((stream.start_time or 0) + stream.duration) * base
    seen = None if stated is None else _last_packet_end(container, stream, stated, frame_duration)
    if seen is None:
        seen = _last_packet_end(container, stream, None, frame_duration)
    if seen is None:
        raise MediaReadError(f"{container.name}: its pictures carry no time stamps")
    # An edit list may end within the last picture's time; a larger difference is a header that lies.
    if stated is not None and abs(seen - stated) < frame_duration:
        return stated
    return seen


def _last_packet_end(
    container: InputContainer, stream: VideoStream, near: Fraction | None, frame_duration: Fraction
) -> Fraction | None:
    """Largest pts + duration of the packets around and after ``near`` (None: of all)."""
    base = Fraction(stream.time_base or Fraction(1, 1000))
    last: Fraction | None = None
    try:
        if near is None:
            container.seek(0)
        else:
            # Well before the end: MPEG-TS seeks roughly, and pictures are stored out of order.
            container.seek(max(0, int((near - _TAIL) / base)), stream=stream)
        for packet in container.demux(stream):
            if packet.size and packet.pts is not None and not packet.is_discard:
                length = packet.duration * base if packet.duration else frame_duration
                ending = packet.pts * base + length
                last = ending if last is None else max(last, ending)
    except av.FFmpegError:
        return last
    return last
