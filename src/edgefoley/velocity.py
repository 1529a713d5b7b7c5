"""The velocity of a whole clip, from a network that sees one window of it at a time.

Clips up to the timeline's window are one window. Longer ones are divided where the video cuts to another
shot, at fitting places (``timeline.shot_windows``); parts that are still too long, into windows of equal
length. Neighbours overlap, at a cut by less. All share one latent, and at every step their velocities are
blended (``sampling.blend``), so neighbours agree where they meet. What does not depend on the denoising time
- the conditioner's outputs, per window and branch - is computed once; what depends on the time alone, once
per noise level, and where the timestep network takes several times at once, for the whole schedule before
the first step.

Two ways of telling the network what moves when. A sync encoder that gives one row per frame: each token has
the row, and each picture the place, that it has in the whole clip. One that works in segments (segment_rows
rows for segment_frames frames, a new segment every segment_stride frames): a window begins where a segment
begins and has the segments that lie within it, spread over its tokens as if it were a clip of its own, which
is what such a network was trained on.

Layer 3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from edgefoley.bundle import Bundle
from edgefoley.errors import BundleIntegrityError
from edgefoley.graphs import Arrays, Graphs, Pass
from edgefoley.sampling import blend, guided
from edgefoley.timeline import grid_count, segment_count, shot_windows
from edgefoley.types import Conditioning, FloatArray

# Conditions beyond this are computed again at every step instead of kept: a clip of ten minutes has 75
# windows. A chain has the conditions of all passes in memory at every step, so there all are kept.
CONDITION_BYTES = 128_000_000


def sync_rows(tokens: int, rows: int) -> npt.NDArray[np.int64]:
    """Row of the sync features for each of ``tokens``: floor((i + 1/2) rows / tokens), in integers."""
    return (2 * np.arange(tokens, dtype=np.int64) + 1) * rows // (2 * tokens)


def visual_positions(tokens: int, rows: int) -> npt.NDArray[np.float32]:
    """Place of each of ``rows`` pictures among the tokens, which stand at 2 i: 2 floor((j + 1/2) tokens /
    rows) + 1."""
    places = 2 * ((2 * np.arange(rows, dtype=np.int64) + 1) * tokens // (2 * rows)) + 1
    return places.astype(np.float32)


class Spans:
    """Where the windows of a clip of ``duration`` seconds are: ``tokens`` in all, ``spans`` [start, stop) in
    tokens; ``count`` latents, ``multiple`` for each token; ``size``: the longest window. ``cuts``: seconds
    at which shots begin."""

    def __init__(self, bundle: Bundle, duration: Fraction, cuts: Sequence[Fraction] = ()) -> None:
        timeline, sync = bundle.timeline, bundle.components["sync"].attributes
        self.multiple = int(bundle.components["denoiser"].attributes["latent_multiple"])
        self.tokens = math.ceil(timeline.latents(duration) / self.multiple)
        self.count = self.tokens * self.multiple
        self.per_second = Fraction(timeline.latent_rate, self.multiple)
        self.segmented = "segment_frames" in sync
        # Tokens from the start of one segment to the next: windows begin where segments do.
        step = Fraction(sync["segment_stride"] if self.segmented else 1) * self.per_second
        step = step / timeline.sync_rate if self.segmented else Fraction(1)
        size, overlap = (int(seconds * self.per_second) for seconds in (timeline.window, timeline.overlap))
        if not 0 <= overlap <= size - step or step.denominator != 1:
            raise BundleIntegrityError(
                f"model {bundle.name!r}: a window of {timeline.window} s with an overlap of "
                f"{timeline.overlap} s cannot move on by {step} tokens."
            )
        self.step, self.size = int(step), min(size, self.tokens)
        places = [math.floor(cut * self.per_second + Fraction(1, 2)) for cut in cuts]
        self.spans = shot_windows(self.tokens, places, size, overlap, self.step, shortest=self.segmented)

    @property
    def latent_spans(self) -> list[tuple[int, int]]:
        """``spans`` in latents."""
        return [(start * self.multiple, stop * self.multiple) for start, stop in self.spans]


class VelocityField:
    """velocity(latents (1, D, L), sigma) -> (1, D, L), guided if ``guidance_scale`` > 1 (two passes), else
    plain.

    ``count`` latents is L: those that the clip needs, rounded up to the denoiser's multiple. ``levels``: the
    noise levels that will be asked for, so that what depends on them alone can be computed together.
    """

    def __init__(
        self,
        graphs: Graphs,
        conditioning: Conditioning,
        guidance_scale: float,
        levels: Sequence[float] = (),
    ) -> None:
        self.graphs, self.conditioning, self.guidance_scale = graphs, conditioning, guidance_scale
        self.places = Spans(graphs.bundle, conditioning.duration, conditioning.cuts)
        self.count = self.places.count
        self._branches = (True,) if guidance_scale <= 1 else (True, False)
        self._levels = tuple(levels)
        self._clocks: dict[float, Arrays] = {}
        self._conditions: dict[tuple[int, bool], Arrays] = {}
        self._kept: dict[str, list[npt.NDArray]] = {}
        self._kept_bytes = 0
        self._prepared = False

    def __call__(self, latents: FloatArray, sigma: float) -> FloatArray:
        clock = self._clock(sigma)
        if not self._prepared:
            self._prepare()
        spans = self.places.latent_spans
        passes = self.graphs.run_many("denoiser", self._passes(latents, clock))
        parts: list[FloatArray] = []
        for _ in spans:
            velocity: FloatArray = next(passes)["velocity"]
            if len(self._branches) > 1:
                velocity = guided(velocity, next(passes)["velocity"], self.guidance_scale)
            parts.append(velocity)
        return blend(parts, spans, self.count)

    def _passes(self, latents: FloatArray, clock: Arrays) -> Iterator[Pass]:
        """Feeds and conditions of every window, and within it of every branch."""
        for index, (start, stop) in enumerate(self.places.latent_spans):
            feeds = {"latents": np.ascontiguousarray(latents[:, :, start:stop]), **clock}
            for conditional in self._branches:
                yield feeds, self._condition(index, conditional)

    def _clock(self, sigma: float) -> Arrays:
        """What the timestep network says of one noise level. Where it takes any number of times, it is run
        once for the whole schedule: its outputs then have one row per time."""
        if sigma not in self._clocks:
            free = isinstance(self.graphs.bundle.components["timestep"].inputs["t"].shape[0], str)
            asked = list(dict.fromkeys((sigma, *self._levels))) if free else [sigma]
            times = np.array([level * 1000 for level in asked], dtype=np.float32)
            made = self.graphs.run("timestep", {"t": times})
            if free:
                self.graphs.done("timestep")
            for row, level in enumerate(asked):
                self._clocks[level] = (
                    {name: array[row : row + 1] for name, array in made.items()} if free else made
                )
        return self._clocks[sigma]

    def _prepare(self) -> None:
        """Compute the conditions of all passes, as many as may be kept, before the denoiser is opened."""
        self._prepared = True
        keys = [(index, branch) for index in range(len(self.places.spans)) for branch in self._branches]
        for key in keys:
            self._condition(*key)
            if key not in self._conditions:
                return
        self.graphs.done("conditioner")

    def _condition(self, index: int, conditional: bool) -> Arrays:
        key = (index, conditional)
        if key in self._conditions:
            return self._conditions[key]
        feeds = self._condition_feeds(*self.places.spans[index], conditional)
        condition = {
            name: self._shared(name, array) for name, array in self.graphs.run("conditioner", feeds).items()
        }
        fresh = {name: array for name, array in condition.items() if not self._is_kept(name, array)}
        size = sum(array.nbytes for array in fresh.values())
        chain = bool(self.graphs.bundle.components["denoiser"].parts)
        if chain or self._kept_bytes + size <= CONDITION_BYTES:
            for name, array in fresh.items():
                self._kept.setdefault(name, []).append(array)
            self._conditions[key] = condition
            self._kept_bytes += size
        return condition

    def _shared(self, name: str, array: npt.NDArray) -> npt.NDArray:
        """An equal array that is kept already, or ``array``: windows share what the text says, for one. Only
        the two newest are looked at, since the two branches take turns."""
        for kept in self._kept.get(name, [])[-2:]:
            if np.array_equal(kept, array):
                return kept
        return array

    def _is_kept(self, name: str, array: npt.NDArray) -> bool:
        return any(kept is array for kept in self._kept.get(name, [])[-2:])

    def _condition_feeds(self, start: int, stop: int, conditional: bool) -> Arrays:
        """The conditioner's inputs for tokens [start, stop)."""
        c = self.conditioning
        text = c.text_feat if conditional else c.negative_text_feat
        visual = c.visual_feat if conditional else None
        sync = c.sync_feat if conditional or c.sync_always else None
        feeds: dict[str, npt.NDArray] = {} if text is None else {"text_feat": text}
        feeds["visual_present"] = np.array([visual is not None], dtype=np.float32)
        feeds["sync_present"] = np.array([sync is not None], dtype=np.float32)
        feeds |= self._visual_feeds(visual, start, stop)
        feeds |= (
            self._segment_feeds(sync, start, stop)
            if self.places.segmented
            else self._sync_feeds(sync, start, stop)
        )
        return feeds

    def _visual_feeds(self, visual: FloatArray | None, start: int, stop: int) -> dict[str, npt.NDArray]:
        """Pictures in [start, stop) and their places; absent ones are one row of zeros, or as many as there
        would be, which the network replaces by its learned row."""
        timeline, conditioner = self.graphs.bundle.timeline, self.graphs.bundle.components["conditioner"]
        width = conditioner.width("visual_feat")
        if visual is None and conditioner.attributes.get("absent", "row") == "row":
            feat = np.zeros((1, 1, width), dtype=np.float32)
            return {"visual_feat": feat, "visual_position": visual_positions(stop - start, 1)}
        if visual is not None:
            rows = visual.shape[1]
        else:
            rows = grid_count(self.conditioning.duration, timeline.visual_rate)
        places = visual_positions(self.places.tokens, rows)
        near = (places >= 2 * start) & (places < 2 * stop)
        if not near.any():  # pictures are further apart than the window is long
            near[np.abs(places - (start + stop)).argmin()] = True
        feat = np.zeros((1, int(near.sum()), width), np.float32) if visual is None else visual[:, near]
        return {
            "visual_feat": np.ascontiguousarray(feat),
            "visual_position": places[near] - np.float32(2 * start),
        }

    def _sync_feeds(self, sync: FloatArray | None, start: int, stop: int) -> dict[str, npt.NDArray]:
        """One row per frame: those that the tokens [start, stop) have in the whole clip."""
        if sync is None:
            width = self.graphs.bundle.components["conditioner"].width("sync_feat")
            feat = np.zeros((1, 1, width), dtype=np.float32)
            return {"sync_feat": feat, "sync_index": np.zeros(stop - start, dtype=np.int64)}
        rows = sync_rows(self.places.tokens, sync.shape[1])[start:stop]
        feat = np.ascontiguousarray(sync[:, rows[0] : rows[-1] + 1])
        return {"sync_feat": feat, "sync_index": rows - rows[0]}

    def _segment_feeds(self, sync: FloatArray | None, start: int, stop: int) -> dict[str, npt.NDArray]:
        """The segments within [start, stop), spread evenly over its tokens. Absent ones are one segment of
        zeros, repeated: the rows of learned segments differ within a segment only."""
        bundle = self.graphs.bundle
        attributes, rate = bundle.components["sync"].attributes, bundle.timeline.sync_rate
        size, stride, per = (attributes[f"segment_{key}"] for key in ("frames", "stride", "rows"))
        if sync is not None:
            total = sync.shape[1] // per
        else:
            total = segment_count(grid_count(self.conditioning.duration, rate), size, stride)
        first = min(start // self.places.step, total - 1)
        frames = grid_count((stop - start) / self.places.per_second, rate)
        last = total if stop == self.places.tokens else first + segment_count(frames, size, stride)
        last = min(last, total)
        index = sync_rows(stop - start, (last - first) * per)
        if sync is None:
            width = bundle.components["conditioner"].width("sync_feat")
            return {"sync_feat": np.zeros((1, per, width), dtype=np.float32), "sync_index": index % per}
        feat = np.ascontiguousarray(sync[:, first * per : last * per])
        return {"sync_feat": feat, "sync_index": index}
