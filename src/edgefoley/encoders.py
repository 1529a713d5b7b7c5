"""What a bundle's encoders say about words and pictures, worked off in pieces of bounded memory.

Pictures go in batches, the sync encoder's frames in chunks with real context or in segments: the same result
as all at once.

Layer 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgefoley.bundle import Bundle
from edgefoley.classes import ClassTable, prompts, read_class_table
from edgefoley.errors import BundleIntegrityError
from edgefoley.events import CHANNELS
from edgefoley.graphs import Graphs
from edgefoley.preprocess import tokenize, tokenize_together
from edgefoley.shots import cut_times, thumbnails
from edgefoley.timbres import SILENT, TimbreTable, read_timbre_table
from edgefoley.timeline import chunks, grid_count, segment_count
from edgefoley.types import ByteArray, Clip, Conditioning, FloatArray, FrameView

SYNC_CHUNK = 250  # frames: 10 s at once keep the encoder's activations small
PIECE = Fraction(16)  # seconds of a clip that are read at once where its frames as a whole take too much


def text_features(graphs: Graphs, prompt: str, negative_prompt: str) -> tuple[FloatArray, FloatArray]:
    """(1, T, D) of the prompt and of the negative prompt; of T rows ``kept_tokens`` are used where the
    component says so.

    A text component with ``pad_id`` wants both padded to the length of the longer one. Its network gives the
    padding rows of their own, and the denoiser attends to them like to words: one prompt's length then
    changes the result of the other, as in the model's training.
    """
    path, attributes = graphs.bundle.tokenizer_path(), graphs.bundle.components["text"].attributes
    pad_id, kept = attributes.get("pad_id"), attributes.get("kept_tokens")
    texts = [prompt, negative_prompt]
    if pad_id is None:
        tokens = [tokenize(path, text) for text in texts]
    else:
        tokens = tokenize_together(path, texts, int(pad_id))
    made = [graphs.run("text", {"token_ids": ids, "mask": mask})["text_feat"] for ids, mask in tokens]
    return made[0][:, :kept], made[1][:, :kept]


def named_sounds(
    graphs: Graphs, prompt: str, negative_prompt: str
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What prompt and negative prompt name of the bundle's table of timbres: nothing where it has none."""
    table = read_timbres(graphs.bundle)
    if table is None:
        return (), ()
    path = graphs.bundle.tokenizer_path()

    def sentence(phrase: str) -> FloatArray:
        ids, mask = tokenize(path, phrase)
        vector: FloatArray = graphs.run("text", {"token_ids": ids, "mask": mask})["text_feat"][0, 0]
        return vector

    return table.named(prompt, sentence), table.named(negative_prompt, sentence)


def with_timbres(bundle: Bundle, conditioning: Conditioning, seed: int) -> Conditioning:
    """The conditioning with an example, the seed's choice, of each sound that its texts name; where the model
    reads event curves also with the activity of sounds that last, and without pictures with a rhythm for the
    first sound: it has learnt that what else is named is heard in the background."""
    table, c = read_timbres(bundle), conditioning
    if table is None or c.text_feat is None or c.negative_text_feat is None:
        return c
    texts = ((c.text_feat, c.timbres), (c.negative_text_feat, c.negative_timbres))
    text, negative = (table.beside(feat, sounds, seed) for feat, sounds in texts)
    c = replace(c, text_feat=text, negative_text_feat=negative)
    width = bundle.components["conditioner"].width("sync_feat")
    if not c.timbres or width != CHANNELS:
        return c
    curve, always = c.sync_feat, c.sync_always
    if curve is None:
        frames = grid_count(c.duration, bundle.timeline.sync_rate)
        curve = table.rhythm(c.timbres[0], c.duration, frames, seed)
        # Guided, a curve drives what lies between events into silence: good where it shows when, unnatural
        # where nobody sees. It is needed for silence, and beside another sound, in which events would drown.
        always = len(c.timbres) == 1 and table.kinds[c.timbres[0]] != SILENT
    wanted = [sound for sound in c.timbres if sound not in c.negative_timbres]
    curve = table.lasting(curve, wanted, c.activity_told, c.suggested)
    return replace(c, sync_feat=curve, sync_always=always)


def read_timbres(bundle: Bundle) -> TimbreTable | None:
    """The bundle's table of timbres, read once; None where it has none."""
    path = bundle.timbres_path()
    return None if path is None or bundle.timbres is None else _read_timbre_file(path, bundle.timbres.sha256)


@lru_cache(maxsize=2)
def _read_timbre_file(path: Path, sha256: str) -> TimbreTable:
    return read_timbre_table(path)


def visual_features(graphs: Graphs, view: FrameView) -> FloatArray:
    """(1, M, D) of M frames."""
    return look(graphs, view)[0]


def look(graphs: Graphs, view: FrameView) -> tuple[FloatArray, FloatArray | None]:
    """``visual_features``, and logits (M, classes) where the encoder names what it sees."""
    batch = int(graphs.bundle.components["visual"].attributes["batch"])
    made = [
        graphs.run("visual", {"frames": np.ascontiguousarray(view.frames[i : i + batch])})
        for i in range(0, len(view.frames), batch)
    ]
    logits = [out["class_logits"] for out in made if "class_logits" in out]
    return np.concatenate([out["visual_feat"] for out in made])[None], np.concatenate(
        logits
    ) if logits else None


def class_probabilities(bundle: Bundle, table: ClassTable, logits: FloatArray) -> FloatArray:
    """(M, classes) of class logits of M pictures. Raises BundleIntegrityError where the ``table`` names
    another number of classes than the bundle's encoder tells apart."""
    if logits.shape[1] != len(table.names):
        raise BundleIntegrityError(
            f"model {bundle.name!r} tells {logits.shape[1]} classes apart and names {len(table.names)}: its "
            "class table belongs to another image encoder. Make the bundle again."
        )
    return table.probabilities(logits)


def suggestion(graphs: Graphs, logits: FloatArray | None) -> str:
    """The prompt that pictures with these class logits (M, classes) would fit, in English; "" where they show
    nothing that the model can name a sound of, or the model has no class table."""
    path = graphs.bundle.classes_path()
    if logits is None or path is None:
        return ""
    table = read_class_table(path)
    mean = class_probabilities(graphs.bundle, table, logits).mean(axis=0, dtype=np.float64).astype(np.float32)
    return prompts(table.suggest(mean))["en"]


def sync_features(graphs: Graphs, view: FrameView) -> tuple[FloatArray, FloatArray | None]:
    """(1, S, D) of all frames, and event logits (1, 2 S) where the encoder has them."""
    if "segment_frames" in graphs.bundle.components["sync"].attributes:
        return _segment_features(graphs, view), None
    context = int(graphs.bundle.components["sync"].attributes["context_frames"])
    feats, events = [], []
    for start, stop, first, last in chunks(len(view.frames), SYNC_CHUNK, context):
        feeds = {"frames": view.frames[None, first:last], "ages": view.ages[None, first:last]}
        out = graphs.run("sync", {name: np.ascontiguousarray(array) for name, array in feeds.items()})
        feats.append(out["sync_feat"][:, start - first : stop - first])
        if "event_logits" in out:
            events.append(out["event_logits"][:, 2 * (start - first) : 2 * (stop - first)])
    return np.concatenate(feats, axis=1), np.concatenate(events, axis=1) if events else None


def segment_frames(
    frames: int, size: int, stride: int, batch: int, most: int | None = None
) -> Iterator[npt.NDArray[np.int64]]:
    """Which frames form each segment, (segments, size), ``batch`` segments at a time, ``most`` in all. Frames
    after the last whole segment are in none; with fewer frames than a segment has the last one is held."""
    count = segment_count(frames, size, stride) if most is None else most
    for first in range(0, count, batch):
        starts = stride * np.arange(first, min(count, first + batch))
        yield np.minimum(starts[:, None] + np.arange(size), frames - 1)


def _segment_features(graphs: Graphs, view: FrameView, most: int | None = None) -> FloatArray:
    attributes = graphs.bundle.components["sync"].attributes
    size, stride, rows = (int(attributes[f"segment_{key}"]) for key in ("frames", "stride", "rows"))
    width = graphs.bundle.components["sync"].width("sync_feat")
    feats = [np.empty((1, 0, width), dtype=np.float32)]
    for index in segment_frames(len(view.frames), size, stride, int(attributes["batch"]), most):
        feat = graphs.run("sync", {"frames": view.frames[index]})["sync_feat"]
        if feat.shape[:2] != (len(index), rows):
            raise BundleIntegrityError(
                f"the sync encoder of model {graphs.bundle.name!r} made {feat.shape[:2]} rows of "
                f"{len(index)} segments, the manifest says {rows} each."
            )
        feats.append(feat.reshape(1, -1, feat.shape[-1]))
    return np.concatenate(feats, axis=1)


def can_encode_pieces(bundle: Bundle) -> bool:
    """Whether a long clip can be read and encoded in pieces of ``PIECE`` seconds, with the same result: its
    sync encoder works in segments, and whole numbers of these and of pictures begin in a piece."""
    attributes, timeline = bundle.components["sync"].attributes, bundle.timeline
    if "segment_frames" not in attributes:
        return False
    segments = PIECE * timeline.sync_rate / attributes["segment_stride"]
    return segments.denominator == (PIECE * timeline.visual_rate).denominator == 1


def piece_spans(bundle: Bundle, duration: Fraction) -> list[tuple[Fraction, Fraction]]:
    """(start, stop) in seconds of the pieces of a clip: one begins every ``PIECE`` seconds, and each goes on
    for as long as its last segment does."""
    attributes = bundle.components["sync"].attributes
    lead = (attributes["segment_frames"] - attributes["segment_stride"]) / bundle.timeline.sync_rate
    starts = [PIECE * i for i in range(math.ceil(duration / PIECE))]
    return [(start, min(start + PIECE + lead, duration)) for start in starts]


def piecewise_features(
    graphs: Graphs,
    duration: Fraction,
    pieces: Iterable[Clip],
    report: Callable[[str, float], None],
) -> tuple[FloatArray, FloatArray, tuple[Fraction, ...]]:
    """``visual_features``, ``sync_features`` and cuts (see ``Cuts``) of a clip of ``duration`` seconds from
    ``pieces``: its frames in each of ``piece_spans``. They are those of the whole clip. ``report`` hears
    "encode" and how much is done."""
    timeline, attributes = graphs.bundle.timeline, graphs.bundle.components["sync"].attributes
    size, stride = int(attributes["segment_frames"]), int(attributes["segment_stride"])
    pictures = grid_count(duration, timeline.visual_rate)
    segments = segment_count(grid_count(duration, timeline.sync_rate), size, stride)
    per_piece = int(PIECE * timeline.visual_rate), int(PIECE * timeline.sync_rate) // stride
    made, total, cuts = [], len(piece_spans(graphs.bundle, duration)), Cuts(graphs.bundle, duration)
    for number, clip in enumerate(pieces):
        visual, sync = clip.views["visual"], clip.views["sync"]
        count = min(per_piece[0], pictures - number * per_piece[0])
        feat = visual_features(graphs, replace(visual, frames=visual.frames[:count]))
        kept = max(0, min(per_piece[1], segments - number * per_piece[1]))
        made.append((feat, _segment_features(graphs, sync, kept)))
        cuts.look(sync, per_piece[1] * stride)
        report("encode", (number + 1) / total)
    visual_feat, sync_feat = (np.concatenate(rows, axis=1) for rows in zip(*made, strict=True))
    return visual_feat, sync_feat, cuts.found()


class Cuts:
    """Looks for cuts in the frames of the sync encoder, piece by piece, where a clip is longer than one
    window; keeps small copies of the frames only."""

    def __init__(self, bundle: Bundle, duration: Fraction) -> None:
        self._wanted, self._rate = duration > bundle.timeline.window, bundle.timeline.sync_rate
        self._thumbs: list[ByteArray] = []
        self._ages: list[FloatArray] = []

    def look(self, view: FrameView, most: int | None = None) -> None:
        """Take in the next frames, ``most`` of them (None: all)."""
        if self._wanted:
            self._thumbs.append(thumbnails(view.frames[:most]))
            self._ages.append(view.ages[:most])

    def found(self) -> tuple[Fraction, ...]:
        """Seconds at which new shots begin."""
        if not self._thumbs:
            return ()
        return tuple(cut_times(np.concatenate(self._thumbs), np.concatenate(self._ages), self._rate))
