"""Events from a running camera: the sync encoder on frames as they come, a fixed look-ahead behind.

A frame's outputs depend on ``lookahead_frames`` later frames of the 25 per second grid and on
``context_frames`` earlier ones (attributes of the bundle's sync component). A chunk is worked off as soon as
its look-ahead is there, with all the context, so the events are those of the whole clip, only later: the
delay is the look-ahead and the chunk. Memory does not grow with time.

Layer 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefoley.errors import UsageError
from edgefoley.events import Event, read_curve
from edgefoley.pipeline import Pipeline
from edgefoley.types import ByteArray, Conditioning

Run = Callable[[Mapping[str, npt.NDArray[Any]]], Mapping[str, npt.NDArray[Any]]]
ROUNDING_S = 1e-6  # a time stamp that differs from a place of the grid by less stands on it
SEAM = 1  # frames beyond a chunk whose peaks decide about the chunk's own last place


@dataclass
class _Window:
    """Grid frames still needed, the first of them at place ``first``; ages in seconds."""

    frames: list[ByteArray]
    ages: list[float]
    first: int = 0


class EventStream:
    """Frames in, events out.

    ``run``: the sync graph (frames (1, n, h, w) uint8, ages (1, n) -> sync_feat, event_logits); ``rate``:
    grid frames per second; ``chunk`` grid frames are worked off at once: fewer come sooner and cost more.
    """

    def __init__(
        self, run: Run, rate: Fraction, size: tuple[int, int], context: int, lookahead: int, chunk: int = 5
    ) -> None:
        if chunk < 1:
            raise UsageError(f"chunk must be at least 1 frame, got {chunk}.")
        self._run, self._rate, self._size = run, Fraction(rate), size
        self._context, self._ahead, self._chunk = context + SEAM, lookahead + SEAM, chunk
        self._grid = _Window([], [])
        self._newest: tuple[ByteArray, float] | None = None
        self._filled = self._done = 0

    @classmethod
    def open(cls, pipeline: Pipeline, chunk: int = 5) -> EventStream:
        """On the sync network of an open pipeline. Raises UsageError for a model without event curve."""
        pipeline.check_event_curve()
        sync, timeline = pipeline.bundle.components["sync"], pipeline.bundle.timeline
        context = int(sync.attributes["context_frames"])
        height, width = sync.attributes["size"]
        lookahead = int(sync.attributes.get("lookahead_frames", context))
        run: Run = lambda feeds: pipeline.graphs.run("sync", feeds)  # noqa: E731
        return cls(run, timeline.sync_rate, (int(height), int(width)), context, lookahead, chunk)

    @property
    def delay_s(self) -> float:
        """Longest time between an event and the call of ``push`` that can return it, apart from computing:
        look-ahead, chunk and one grid place until the next frame settles the last one."""
        return float((self._ahead + self._chunk + 1) / self._rate)

    def push(self, frame: ByteArray, time_s: float) -> list[Event]:
        """Take a gray frame (h, w) uint8 with its time stamp in seconds from the stream's beginning; returns
        the events that have become certain, if any. Raises UsageError for another size, and for time that
        does not run forward."""
        if frame.shape != self._size or frame.dtype != np.uint8:
            raise UsageError(f"a frame is {frame.dtype} {frame.shape}, the model takes uint8 {self._size}.")
        if self._newest is not None and not time_s > self._newest[1]:
            raise UsageError(f"a frame at {time_s:g} s came after one at {self._newest[1]:g} s.")
        # A place of the grid shows the newest frame at or before it, which is certain once a later one comes.
        self._fill(time_s)
        self._newest = (np.array(frame), time_s)
        found: list[Event] = []
        while self._filled - self._done >= self._chunk + self._ahead:
            found += self._work(self._done + self._chunk)
        return found

    def finish(self, duration_s: float | None = None) -> list[Event]:
        """The remaining events, once no frame comes any more. ``duration_s``: until when the last frame is
        shown (None: for one place of the grid). The stream begins anew afterwards."""
        if self._newest is None:
            return []
        end = self._newest[1] + 2 * ROUNDING_S if duration_s is None else duration_s
        self._fill(end)
        found = self._work(self._filled) if self._filled > self._done else []
        self._grid, self._newest, self._filled, self._done = _Window([], []), None, 0, 0
        return found

    def _fill(self, before_s: float) -> None:
        """Show the newest frame at every place of the grid before an instant."""
        if self._newest is None:
            return
        frame, stamp = self._newest
        while (instant := float(self._filled / self._rate)) < before_s - ROUNDING_S:
            self._grid.frames.append(frame)
            self._grid.ages.append(max(0.0, instant - stamp))
            self._filled += 1

    def _work(self, stop: int) -> list[Event]:
        """Events on the places [done, stop) of the frame grid."""
        grid, start = self._grid, self._done
        feeds: dict[str, npt.NDArray[Any]] = {
            "frames": np.stack(grid.frames)[None],
            "ages": np.array([grid.ages], np.float32),
        }
        out = self._run(feeds)
        feat, logits = out["sync_feat"], out["event_logits"]
        seen = Conditioning(Fraction(len(grid.frames)) / self._rate, None, None, None, feat, logits)
        # A refined time may lie up to half a place beside the chunk: the place decides, not the time.
        place = 2 * float(self._rate)
        low, high = 2 * (start - grid.first), 2 * (stop - grid.first)
        found = [
            replace(event, time_s=event.time_s + float(grid.first / self._rate))
            for event in read_curve(seen).events
            if low <= round(event.time_s * place) < high
        ]
        self._done = stop
        keep = max(0, stop - self._context)
        drop = keep - grid.first
        if drop > 0:
            del grid.frames[:drop], grid.ages[:drop]
            grid.first = keep
        return found
