"""Where a video cuts from one shot to the next, seen in the small frames that an encoder gets anyway.

Two pictures differ by sqrt(H E), from 0 to 1:

    H   histograms of brightness: how far grey levels have to be moved to turn one into the other
        (Rubner et al., "The Earth Mover's Distance", IJCV 2000; in one dimension it is the mean
        difference of the sorted pixels), of full scale
    E   edges: sum of |edge - edge'| over the sum of both

Both have to change: a moving object or camera moves edges and keeps the histogram, a lamp changes the
histogram and keeps the edges. A cut is a place where the pictures differ, and more than they do around it
(motion), and still do when up to ``FLASH`` pictures on either side are left out (a flash goes by). A fade or
dissolve changes little from one picture to the next and is none. What is doubtful is no cut: a cut not seen
costs nothing but a blended seam, while a wrong one would divide a shot.

Layer 1: numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from edgefoley.types import ByteArray

THUMB = 28  # pixels of a thumbnail's side, about: divides the 112 and 224 of the encoders
LEAST = 0.1  # difference of two shots
CLEARER = 2.5  # times the difference of pictures around
AROUND = 8  # pictures on both sides that say how much changes anyway
SPIKES = 2  # of these that may differ as much as a cut: a flash's two ends, another cut
FLASH = 5  # longest flash in pictures; 0.2 s at 25 per second
_FAINT = 2.0  # grey levels per pixel; edges below this are noise
BATCH = 256  # pictures looked at together
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


def thumbnails(frames: ByteArray) -> ByteArray:
    """Small grey copies (n, h, w) of frames (n, h, w) or (n, h, w, 3), uint8: means of square blocks."""
    block = max(1, min(frames.shape[1:3]) // THUMB)
    height, width = (size // block for size in frames.shape[1:3])
    made = np.empty((len(frames), height, width), dtype=np.uint8)
    for index, frame in enumerate(frames):
        rows = frame[: height * block, : width * block].reshape(height, block, -1)
        rows = rows.sum(axis=1, dtype=np.uint16)  # whole rows first: several times as quick
        mean = rows.reshape(height, width, block, -1).sum(axis=2, dtype=np.float32) / block**2
        made[index] = (mean @ _LUMA if mean.shape[-1] == 3 else mean[..., 0]) + 0.5
    return made


def differences(thumbs: ByteArray, lag: int) -> npt.NDArray[np.float32]:
    """(n - lag,): how much each picture and the one ``lag`` later differ, 0 … 1."""
    count = max(0, len(thumbs) - lag)
    made = np.empty(count, dtype=np.float32)
    for first in range(0, count, BATCH):
        stop = min(count, first + BATCH)
        levels, edges = _described(thumbs[first : stop + lag])
        here, there = slice(0, stop - first), slice(lag, None)
        moved = np.abs(levels[here] - levels[there]).mean(axis=1) / 255
        changed = np.abs(edges[here] - edges[there]).sum(axis=1)
        both = edges[here].sum(axis=1) + edges[there].sum(axis=1) + _FAINT * edges.shape[1]
        made[first:stop] = np.sqrt(moved * changed / both)
    return made


def cut_places(thumbs: ByteArray) -> list[int]:
    """Numbers of the pictures with which a new shot begins, ascending; the first picture is not among
    them."""
    count = len(thumbs)
    if count < 2:
        return []
    step = differences(thumbs, 1)  # step[i]: between i and i + 1
    lasting = step.copy()
    for lag in range(2, FLASH + 2):
        far = differences(thumbs, lag)
        lasting[: len(far)] = np.minimum(lasting[: len(far)], far)  # the last before, and one further on
        lasting[lag - 1 :] = np.minimum(lasting[lag - 1 :], far)  # one further back, and the first after
    clear = lasting >= np.maximum(LEAST, CLEARER * _around(step))
    found: list[int] = []
    for place in np.flatnonzero(clear).tolist():
        if found and place + 1 - found[-1] <= FLASH:  # one cut seen twice: a picture that shows both shots
            if lasting[place] > lasting[found[-1] - 1]:
                found[-1] = place + 1
        else:
            found.append(place + 1)
    return found


def cut_times(thumbs: ByteArray, ages: Sequence[float] | npt.NDArray, rate: Fraction) -> list[Fraction]:
    """When new shots begin, in seconds from the first place of the grid, to the microsecond. ``ages``: of the
    pictures at their places on the grid of ``rate`` per second, see ``types.FrameView``."""
    stamps = (Fraction(place) / rate - Fraction(float(ages[place])) for place in cut_places(thumbs))
    return [Fraction(round(stamp * 1_000_000), 1_000_000) for stamp in stamps]


def _described(thumbs: ByteArray) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Per picture its sorted pixels, and its edges: |difference| to the right and down, one row each."""
    pictures = thumbs.astype(np.float32)
    edges = np.zeros_like(pictures)
    edges[:, :, :-1] += np.abs(np.diff(pictures, axis=2))
    edges[:, :-1] += np.abs(np.diff(pictures, axis=1))
    flat = pictures.reshape(len(pictures), -1)
    return np.sort(flat, axis=1), edges.reshape(len(pictures), -1)


def _around(step: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The largest difference within ``AROUND`` places on either side of each, but for ``SPIKES`` larger
    ones; the place itself does not count."""
    padded = np.pad(step, AROUND)
    near = np.lib.stride_tricks.sliding_window_view(padded, 2 * AROUND + 1)
    near = np.delete(near, AROUND, axis=1)
    return np.asarray(np.sort(near, axis=1)[:, -1 - SPIKES], dtype=np.float32)
