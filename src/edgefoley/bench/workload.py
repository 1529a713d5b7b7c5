"""Which networks run how often, and on tensors of which shapes, to make the sound of one clip.

The counts are those of the pipeline: ``encoders`` (batches, chunks with context, segments), ``velocity``
(windows, branches, steps) and ``Pipeline.decode``. What passes from one network to the next has the shape
that the first one's graph makes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from itertools import groupby
from pathlib import Path

from edgefoley.bench.graph_file import Graph, read_graph
from edgefoley.bench.shape_rules import Value
from edgefoley.bench.shapes import propagate
from edgefoley.bundle import Bundle
from edgefoley.encoders import SYNC_CHUNK
from edgefoley.plan import Run
from edgefoley.timeline import DECODE_CHUNK, chunks, grid_count, segment_count
from edgefoley.velocity import Spans

Shape = tuple[int, ...]
WORDS = 10  # tokens of a prompt; the networks' cost hardly depends on it


@dataclass(frozen=True)
class Pass:
    """One graph run ``times`` with inputs of these ``shapes``; ``values``: every tensor in it by name."""

    component: str
    times: int
    shapes: Mapping[str, Shape] = field(hash=False)
    graph: Graph = field(hash=False, repr=False)
    values: Mapping[str, Value] = field(hash=False, repr=False)


class Workload:
    """The passes of one run. ``words``: tokens of prompt and negative prompt each."""

    def __init__(self, bundle: Bundle, backend: str, run: Run, words: int = WORDS) -> None:
        self.bundle, self.backend, self.run, self.words = bundle, backend, run, words
        self._graph = cache(lambda name: read_graph(self._path(name)))

    def passes(self) -> list[Pass]:
        """In the order in which they run. Raises UnknownShapeError for a graph that cannot be counted."""
        made = [self._one("text", 2, self._text())]
        if self.run.video:
            made += [*self._visual(), *self._sync()]
        places = Spans(self.bundle, self.run.duration)
        sizes = [stop - start for start, stop in places.spans]
        clock, times = self._clock()
        conditions, denoised = list[Pass](), list[Pass]()
        for size, group in groupby(sorted(sizes)):
            many = len(list(group))
            for branch in range(self.run.branches):
                condition = self._one("conditioner", many, self._condition(size, places, branch == 0))
                conditions.append(condition)
                latents = (1, self._latent_dim, size * places.multiple)
                fed = {"latents": latents, **_shapes_of(condition), **clock}
                denoised += self._chain("denoiser", many * self.run.steps, fed)
        return [*made, *conditions, *times, *denoised, *self._decoder(places.count)]

    def single(self, component: str) -> Pass:
        """One graph as ``passes`` has it first, but with one picture or segment where it takes several."""
        one = next(one for one in self.passes() if one.component == component)
        frames = one.shapes.get("frames")
        if frames is None or "ages" in one.shapes:
            return one
        return self._one(component, one.times, {"frames": (1, *frames[1:])})

    @property
    def _latent_dim(self) -> int:
        return int(self.bundle.components["denoiser"].attributes["latent_dim"])

    def _path(self, component: str) -> Path:
        return self.bundle.folder / self.bundle.artefact_entry(component, self.backend).path

    def _one(self, component: str, times: int, shapes: Mapping[str, Shape]) -> Pass:
        graph = self._graph(component)
        values = propagate(graph, shapes)
        taken = {tensor.name: values[tensor.name].shape for tensor in graph.inputs}
        return Pass(component, times, taken, graph, values)

    def _chain(self, component: str, times: int, shapes: Mapping[str, Shape]) -> list[Pass]:
        parts, known, made = self.bundle.components[component].parts or (component,), dict(shapes), []
        for part in parts:
            made.append(self._one(part, times, known))
            known |= _shapes_of(made[-1])
        return made

    def _text(self) -> dict[str, Shape]:
        return dict.fromkeys(("token_ids", "mask"), (1, self.words))

    def _visual(self) -> Iterator[Pass]:
        view = self.bundle.views()["visual"]
        batch = int(self.bundle.components["visual"].attributes["batch"])
        whole, rest = divmod(grid_count(self.run.duration, view.rate), batch)
        depth = (3,) if view.pixel == "rgb" else ()
        for times, pictures in ((whole, batch), (min(rest, 1), rest)):
            if times:
                yield self._one("visual", times, {"frames": (pictures, *view.size, *depth)})

    def _sync(self) -> Iterator[Pass]:
        view, attributes = self.bundle.views()["sync"], self.bundle.components["sync"].attributes
        frames = grid_count(self.run.duration, view.rate)
        depth = (3,) if view.pixel == "rgb" else ()
        if "segment_frames" in attributes:
            size, stride = (int(attributes[f"segment_{key}"]) for key in ("frames", "stride"))
            whole, rest = divmod(segment_count(frames, size, stride), int(attributes["batch"]))
            for times, many in ((whole, int(attributes["batch"])), (min(rest, 1), rest)):
                if times:
                    yield self._one("sync", times, {"frames": (many, size, *view.size, *depth)})
            return
        parts = chunks(frames, SYNC_CHUNK, int(attributes["context_frames"]))
        for length, group in groupby(sorted(last - first for _, _, first, last in parts)):
            shapes = {"frames": (1, length, *view.size, *depth), "ages": (1, length)}
            yield self._one("sync", len(list(group)), shapes)

    def _clock(self) -> tuple[dict[str, Shape], list[Pass]]:
        """Shapes of what the denoiser is told of one noise level; how the timestep network is run."""
        free = isinstance(self.bundle.components["timestep"].inputs["t"].shape[0], str)
        times, rows = (1, self.run.steps) if free else (self.run.steps, 1)
        made = self._chain("timestep", times, {"t": (rows,)})
        shapes = {name: shape for one in made for name, shape in _shapes_of(one).items()}
        return {name: (1, *shape[1:]) if free else shape for name, shape in shapes.items()}, made

    def _condition(self, tokens: int, places: Spans, present: bool) -> dict[str, Shape]:
        conditioner, timeline = self.bundle.components["conditioner"], self.bundle.timeline
        attributes = self.bundle.components["sync"].attributes
        seconds = Fraction(tokens) / places.per_second
        shapes: dict[str, Shape] = {
            "visual_present": (1,), "sync_present": (1,), "sync_index": (tokens,),
            "text_feat": (1, self._text_rows(), conditioner.width("text_feat")),
        }  # fmt: skip
        seen = present and self.run.video
        pictures = grid_count(seconds, timeline.visual_rate)
        if not seen and conditioner.attributes.get("absent", "row") == "row":
            pictures = 1
        shapes["visual_feat"] = (1, pictures, conditioner.width("visual_feat"))
        shapes["visual_position"] = (pictures,)
        frames = grid_count(seconds, timeline.sync_rate)
        if places.segmented:
            size, stride, per = (int(attributes[f"segment_{key}"]) for key in ("frames", "stride", "rows"))
            rows = per * segment_count(frames, size, stride) if seen else per
        else:
            rows = frames if seen else 1
        shapes["sync_feat"] = (1, rows, conditioner.width("sync_feat"))
        return shapes

    def _text_rows(self) -> int:
        kept = self.bundle.components["text"].attributes.get("kept_tokens")
        values = propagate(self._graph("text"), self._text())
        return (
            min(int(kept or math.inf), values["text_feat"].shape[1]) if kept else values["text_feat"].shape[1]
        )

    def _decoder(self, count: int) -> Iterator[Pass]:
        context = int(self.bundle.components["decoder"].attributes["context_latents"]) + 1
        parts = chunks(count, DECODE_CHUNK, context)
        for length, group in groupby(sorted(last - first for _, _, first, last in parts)):
            yield self._one("decoder", len(list(group)), {"latents": (1, self._latent_dim, length)})


def _shapes_of(made: Pass) -> dict[str, Shape]:
    return {tensor.name: made.values[tensor.name].shape for tensor in made.graph.outputs}
