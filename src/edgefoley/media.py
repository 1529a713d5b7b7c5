"""Read a clip: every encoder's frames in one pass through the file, and the sound that it already has.

Frames are decoded one after the other and only those that some encoder wants are scaled, right after
decoding, so the memory needed depends on the encoders' small pictures and not on the video's size.

Layer 1: numpy and PyAV.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream

from edgefoley.errors import MediaReadError, UsageError
from edgefoley.soundtrack import read_audio
from edgefoley.source import MediaWarning, Source, excerpt, inspect, open_source, packets, probe, video_stream
from edgefoley.timeline import grid_count, pick_frames
from edgefoley.types import ByteArray, Clip, FrameView, View

__all__ = ["MediaWarning", "probe", "read_audio", "read_clip"]

# Both widen their kernel when they shrink, so they do not alias. FAST_BILINEAR looks at two neighbours only.
SCALING = {"bilinear": Interpolation.BILINEAR, "bicubic": Interpolation.BICUBIC}
# More decoder threads than this cost memory (every thread holds frames) and gain little at video sizes.
MAX_THREADS = 4
_UNSPECIFIED_COLORSPACE = 2  # AVCOL_SPC_UNSPECIFIED


def read_clip(
    path: str | Path,
    views: Mapping[str, View],
    start: Fraction | None = None,
    end: Fraction | None = None,
    max_height: int | None = None,
    threads: int | None = None,
) -> Clip:
    """Decode the excerpt [start, end) seconds (None: to the border) once and give every view its frames.

    ``max_height`` pixels: how much detail is wanted. Pictures higher than that are decoded without the
    deblocking filter (H.264, HEVC, VP9), and where even a view is higher, the picture is brought to that
    height before it is enlarged. ``threads``: of the decoder; None: the available cores, at most 4.

    Damaged frames are skipped with a MediaWarning and the frame before is held. Raises MediaReadError,
    NoVideoStreamError, or UsageError for an excerpt outside the clip.
    """
    path = Path(path)
    if max_height is not None and max_height < 16:
        raise UsageError(f"max_height {max_height} is too small to see anything; take 16 or more")
    source = inspect(path)
    begin, stop = excerpt(path, source.info.duration, start, end)
    grids = {
        name: _Grid(view, grid_count(stop - begin, view.rate), source, max_height)
        for name, view in views.items()
    }
    # Seeking may land too late (open groups of pictures, rough indices): then look further back.
    for back in (Fraction(0), Fraction(10), None):
        where = None if back is None or begin - back <= 0 else begin - back
        times = _collect(source, grids, (begin, stop), where, threads)
        if where is None or (times and times[0] <= 0):
            break
    if not times:
        raise MediaReadError(
            f"{path}: none of its pictures between {float(begin):g} s and {float(stop):g} s decodes"
        )
    return Clip(source.info, begin, stop - begin, {name: grid.finish(times) for name, grid in grids.items()})


class _Grid:
    """One view being filled: which frames it wants, and those frames at its size."""

    def __init__(self, view: View, count: int, source: Source, max_height: int | None) -> None:
        self.view = view
        self.count = count
        self._orientation = source.orientation
        self.coarse = max_height is not None and source.info.size[1] > max_height
        # Shrinking in two steps costs time and changes nothing worth having unless the limit is lower.
        self._limit = (
            max_height if self.coarse and max_height is not None and max_height < view.size[0] else None
        )
        self._first = VideoReformatter()
        self._second = VideoReformatter()
        self._pictures: dict[int, ByteArray] = {}

    def clear(self) -> None:
        self._pictures.clear()

    def wants(self, before: Fraction | None, this: Fraction, after: Fraction | None) -> bool:
        """Whether an instant k/rate shows the frame at ``this``, given its neighbours (None: there is none).

        Only saves work: what stands where is decided by ``timeline.pick_frames``, for all frames at once.
        """
        rate = self.view.rate
        if self.view.rule == "at_or_before":  # instants in [this, after)
            first = 0 if before is None else max(0, math.ceil(this * rate))
            last = self.count - 1 if after is None else math.ceil(after * rate) - 1
        else:  # instants in (before, this]
            first = 0 if before is None else max(0, math.floor(before * rate) + 1)
            last = self.count - 1 if after is None else math.floor(this * rate)
        return first < self.count and first <= last

    def take(self, index: int, frame: VideoFrame) -> None:
        """Scale the frame and keep it under its index."""
        height, width = self.view.size
        if self._orientation.swap:
            height, width = width, height
        space, interpolation = _colorspace(frame), SCALING[self.view.interpolation]
        if self._limit is not None:
            scale = Fraction(self._limit, frame.width if self._orientation.swap else frame.height)
            size = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
            frame = self._first.reformat(frame, *size, interpolation=interpolation, threads=1)
        if self.view.fit == "crop":
            width, height = covering(frame.width, frame.height, width, height)
        small = self._second.reformat(
            frame,
            width,
            height,
            format="rgb24" if self.view.pixel == "rgb" else "gray",
            src_colorspace=space,
            dst_color_range=ColorRange.JPEG,
            interpolation=interpolation,
            threads=1,
        )
        picture = self._orientation.apply(small.to_ndarray().astype(np.uint8, copy=False))
        self._pictures[index] = np.ascontiguousarray(middle(picture, self.view.size))

    def finish(self, times: list[Fraction]) -> FrameView:
        """Lay the kept frames on the grid; each is let go as soon as it is laid."""
        indices, ages = pick_frames(times, self.view.rate, self.count, self.view.rule)
        height, width = self.view.size
        shape = (self.count, height, width, 3) if self.view.pixel == "rgb" else (self.count, height, width)
        frames = np.empty(shape, dtype=np.uint8)
        for k, index in enumerate(indices):
            frames[k] = self._pictures[index]
            if k + 1 == self.count or indices[k + 1] != index:
                del self._pictures[index]
        return FrameView(frames, np.array([float(age) for age in ages], dtype=np.float32))


def _collect(
    source: Source,
    grids: Mapping[str, _Grid],
    span: tuple[Fraction, Fraction],
    seek: Fraction | None,
    threads: int | None,
) -> list[Fraction]:
    """Decode [begin, stop), fill the grids; returns the frames' time stamps relative to ``begin``,
    ascending."""
    begin, stop = span
    for grid in grids.values():
        grid.clear()
    times: list[Fraction] = []
    held: VideoFrame | None = None

    def settle(after: Fraction | None) -> None:
        """The newest frame's successor is known now: keep its picture where some instant shows it."""
        before = times[-2] if len(times) > 1 else None
        for grid in grids.values():
            if held is not None and grid.wants(before, times[-1], after):
                grid.take(len(times) - 1, held)

    path = source.info.path
    with open_source(path) as container:
        stream = video_stream(container, path)
        stream.thread_type = "AUTO"
        stream.thread_count = threads or min(MAX_THREADS, available_cores())
        if any(grid.coarse for grid in grids.values()):
            # Shrinking averages away what deblocking smooths; the decoder saves up to a quarter of its work.
            stream.codec_context.options = {"skip_loop_filter": "all"}
        if seek is not None:
            base = Fraction(stream.time_base or Fraction(1, 1000))
            container.seek(int((seek + source.origin) / base), stream=stream)
        for moment, frame in _frames(container, stream, source):
            time = moment - begin
            if times and time <= 0:
                times.clear()  # a newer frame stands at or before the beginning
            elif times:
                settle(time)
            times.append(time)
            held = frame
            if moment >= stop:
                break
        if times:
            settle(None)
    return times


def _frames(
    container: InputContainer, stream: VideoStream, source: Source
) -> Iterator[tuple[Fraction, VideoFrame]]:
    """Good frames with their time on the clip's clock, ascending. Warns once about the damaged ones."""
    damaged = 0
    last: Fraction | None = None
    try:
        for packet in packets(container, stream, source.info.path):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                damaged += 1
                continue
            for frame in frames:
                if frame.is_corrupt:
                    damaged += 1
                    continue
                if frame.pts is not None:
                    time = frame.pts * Fraction(frame.time_base or 1) - source.origin
                else:
                    time = Fraction(0) if last is None else last + source.frame_duration
                if last is not None and time < last:
                    continue  # a clock that runs backwards: the picture has no place on the time line
                last = time
                yield time, frame
    finally:
        if damaged:
            warnings.warn(
                f"{source.info.path}: {damaged} damaged frame(s) skipped; the frame before is held",
                MediaWarning,
                stacklevel=2,
            )


def covering(width: int, height: int, box_width: int, box_height: int) -> tuple[int, int]:
    """Width and height of a picture of the same aspect ratio that just covers the box; the longer side is
    rounded down."""
    if width * box_height >= height * box_width:
        return width * box_height // height, box_height
    return box_width, height * box_width // width


def middle(picture: ByteArray, size: tuple[int, int]) -> ByteArray:
    """The central ``size`` (height, width) of a picture, a view. Half pixels go to the even side, as in
    torchvision's CenterCrop, which the encoder was trained with."""
    top, left = (round((have - want) / 2) for have, want in zip(picture.shape, size, strict=False))
    return picture[top : top + size[0], left : left + size[1]]


def available_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _colorspace(frame: VideoFrame) -> Colorspace | None:
    """None where the frame says it; untagged pictures follow the custom: BT.709 from 720 lines on, else
    BT.601."""
    if frame.colorspace != _UNSPECIFIED_COLORSPACE:
        return None
    return Colorspace.ITU709 if min(frame.width, frame.height) >= 720 else Colorspace.ITU601
