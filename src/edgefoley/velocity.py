"""The velocity of a whole clip, from a network that sees one window of it at a time.

Clips up to the timeline's window are one window. Longer ones are cut into windows of equal length that
overlap; all share one latent, and at every step their velocities are blended (``sampling.blend``), so
neighbours agree where they meet. What does not depend on the denoising time - the conditioner's outputs, per
window and branch - is computed once; what depends on the time alone, once per noise level.

Layer 3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from edgefoley.errors import BundleIntegrityError
from edgefoley.graphs import Graphs
from edgefoley.sampling import blend, guided
from edgefoley.timeline import windows
from edgefoley.types import Conditioning, FloatArray

Arrays = Mapping[str, npt.NDArray]

# Conditions beyond this are computed again at every step instead of kept: a clip of ten minutes has 75
# windows.
CONDITION_BYTES = 128_000_000


def sync_rows(tokens: int, rows: int) -> npt.NDArray[np.int64]:
    """Row of the sync features for each of ``tokens``: floor((i + 1/2) rows / tokens), in integers."""
    return (2 * np.arange(tokens, dtype=np.int64) + 1) * rows // (2 * tokens)


def visual_positions(tokens: int, rows: int) -> npt.NDArray[np.float32]:
    """Place of each of ``rows`` pictures among the tokens, which stand at 2 i: 2 floor((j + 1/2) tokens /
    rows) + 1."""
    places = 2 * ((2 * np.arange(rows, dtype=np.int64) + 1) * tokens // (2 * rows)) + 1
    return places.astype(np.float32)


class VelocityField:
    """velocity(latents (1, D, L), sigma) -> (1, D, L), guided if ``guidance_scale`` > 1 (two passes), else
    plain.

    ``count`` latents is L: those that the clip needs, rounded up to the denoiser's multiple.
    """

    def __init__(self, graphs: Graphs, conditioning: Conditioning, guidance_scale: float) -> None:
        bundle = graphs.bundle
        timeline, attributes = bundle.timeline, bundle.components["denoiser"].attributes
        self.graphs, self.conditioning, self.guidance_scale = graphs, conditioning, guidance_scale
        self.multiple = int(attributes["latent_multiple"])
        self.tokens = math.ceil(timeline.latents(conditioning.duration) / self.multiple)
        self.count = self.tokens * self.multiple
        per_second = timeline.latent_rate / self.multiple
        size, overlap = (int(seconds * per_second) for seconds in (timeline.window, timeline.overlap))
        if not 0 <= overlap < size:
            raise BundleIntegrityError(
                f"model {bundle.name!r}: a window of {timeline.window} s with an overlap of "
                f"{timeline.overlap} s leaves nothing to move on by."
            )
        self.spans = windows(self.tokens, size, overlap)
        self._conditions: dict[tuple[int, bool], Arrays] = {}
        self._kept_bytes = 0
        self._clocks: dict[float, Arrays] = {}

    def __call__(self, latents: FloatArray, sigma: float) -> FloatArray:
        p = self.multiple
        spans = [(start * p, stop * p) for start, stop in self.spans]
        parts = [
            self._window(index, np.ascontiguousarray(latents[:, :, start:stop]), sigma)
            for index, (start, stop) in enumerate(spans)
        ]
        return blend(parts, spans, self.count)

    def _window(self, index: int, latents: FloatArray, sigma: float) -> FloatArray:
        conditional = self._pass(index, True, latents, sigma)
        if self.guidance_scale <= 1:
            return conditional
        return guided(conditional, self._pass(index, False, latents, sigma), self.guidance_scale)

    def _pass(self, index: int, conditional: bool, latents: FloatArray, sigma: float) -> FloatArray:
        feeds = {"latents": latents, **self._clock(sigma)}
        velocity: FloatArray = self.graphs.run("denoiser", feeds, self._condition(index, conditional))[
            "velocity"
        ]
        return velocity

    def _clock(self, sigma: float) -> Arrays:
        if sigma not in self._clocks:
            self._clocks[sigma] = self.graphs.run(
                "timestep", {"t": np.array([sigma * 1000], dtype=np.float32)}
            )
        return self._clocks[sigma]

    def _condition(self, index: int, conditional: bool) -> Arrays:
        key = (index, conditional)
        if key in self._conditions:
            return self._conditions[key]
        condition = self.graphs.run("conditioner", self._condition_feeds(*self.spans[index], conditional))
        size = sum(array.nbytes for array in condition.values())
        if self._kept_bytes + size <= CONDITION_BYTES:
            self._conditions[key] = condition
            self._kept_bytes += size
        return condition

    def _condition_feeds(self, start: int, stop: int, conditional: bool) -> Arrays:
        """The conditioner's inputs for tokens [start, stop): each token keeps the sync row, and each picture
        the place relative to the tokens, that it has in the whole clip."""
        c, conditioner = self.conditioning, self.graphs.bundle.components["conditioner"]
        text = c.text_feat if conditional else c.negative_text_feat
        feeds: dict[str, npt.NDArray] = {} if text is None else {"text_feat": text}
        visual, sync = (c.visual_feat, c.sync_feat) if conditional else (None, None)
        feeds["visual_present"] = np.array([visual is not None], dtype=np.float32)
        feeds["sync_present"] = np.array([sync is not None], dtype=np.float32)
        if visual is None:
            visual = np.zeros((1, 1, conditioner.width("visual_feat")), dtype=np.float32)
            feeds["visual_feat"], feeds["visual_position"] = visual, visual_positions(stop - start, 1)
        else:
            places = visual_positions(self.tokens, visual.shape[1])
            near = (places >= 2 * start) & (places < 2 * stop)
            if not near.any():  # pictures are further apart than the window is long
                near[np.abs(places - (start + stop)).argmin()] = True
            feeds["visual_feat"] = np.ascontiguousarray(visual[:, near])
            feeds["visual_position"] = places[near] - np.float32(2 * start)
        if sync is None:
            sync = np.zeros((1, 1, conditioner.width("sync_feat")), dtype=np.float32)
            feeds["sync_feat"], feeds["sync_index"] = sync, np.zeros(stop - start, dtype=np.int64)
        else:
            rows = sync_rows(self.tokens, sync.shape[1])[start:stop]
            feeds["sync_feat"] = np.ascontiguousarray(sync[:, rows[0] : rows[-1] + 1])
            feeds["sync_index"] = rows - rows[0]
        return feeds
