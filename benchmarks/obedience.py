"""Do words give the right sound? python benchmarks/obedience.py --aisfx DIR --sounds DIR... [--guidance 1 4]

Made for choosing steps, guidance and checkpoints: it uses neither the evaluation's clips and prompts nor its
tagger. Every concept that has real recordings on both sides of the split is asked for by one of its phrases
in each language; the sound is placed among the training recordings by sound-effect embeddings (package
aisfx, unpacked), and counts as right when the concept is the nearest (top-1) or among the five nearest. The
held-out recordings themselves, placed in the same way, are the ceiling; one concept in so many is chance.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from edgefoley.evaluation.embedders import Aisfx, Embedder
from edgefoley.export.timbres import school_table
from edgefoley.metrics.event_scores import interval
from edgefoley.models.transformer import Transformer, TransformerConfig
from edgefoley.timbres import TimbreTable
from edgefoley.timeline import SAMPLE_RATE
from edgefoley.train.codec import load_codec
from edgefoley.train.examples import Captioner, visual_rows
from edgefoley.train.precision import has_bf16_units
from edgefoley.train.sampler import trajectory, velocity_of
from edgefoley.train.sounds.library import SoundLibrary
from edgefoley.train.words.concepts import Concept

Array = np.ndarray
SECONDS = 4
MOST = 30  # recordings of one concept on one side, at most


class Map:
    """Training recordings by embedding; concepts ranked by their nearest recording."""

    def __init__(self, library: SoundLibrary, embed: Embedder, concepts: list[Concept]) -> None:
        self.embed, self.ids = embed, [c.id for c in concepts]
        rows, owners = [], []
        for k, concept in enumerate(concepts):
            for wave in recordings(library, concept, False):
                rows.append(embed(wave).mean(0))
                owners.append(k)
        self.centre = np.mean(rows, 0)
        self.rows, self.owners = self._unit(np.stack(rows)), np.array(owners)

    def _unit(self, x: Array) -> Array:
        x = x - self.centre
        return x / (np.linalg.norm(x, axis=-1, keepdims=True) + 1e-9)

    def rank(self, wave: Array, concept: str) -> int:
        """Place of the concept among all, 0 for the nearest."""
        near = self.rows @ self._unit(self.embed(wave).mean(0))
        best = np.array([near[self.owners == k].max() for k in range(len(self.ids))])
        return int((best > best[self.ids.index(concept)]).sum())


def recordings(library: SoundLibrary, concept: Concept, held_out: bool) -> Iterator[Array]:
    """The first seconds of the real recordings on one side of the split."""
    found = [library.pool.recordings[i] for i in library.members(concept.id, held_out)]
    real = [r for r in found if r.held_out == held_out and not r.label.startswith("synthetic ")]
    for recording in real[:MOST]:
        yield library.pool.wave(recording, 0, SECONDS * SAMPLE_RATE)


def sounds(
    model: Transformer, captioner: Captioner, decode: torch.nn.Module, texts: list[str], steps: int,
    guidance: float, table: TimbreTable | None = None, batch: int = 20,
) -> Iterator[Array]:  # fmt: skip
    """One sound of SECONDS for each text, from words alone, and the timbres of what they name where there is
    a ``table``."""
    tokens, dims = SECONDS * 25, model.config
    nothing, nothing_mask = captioner([""])
    for start in range(0, len(texts), batch):
        text, mask = words(captioner, texts[start : start + batch], table, start)
        count = len(text)
        feeds = {
            "text": text, "mask": mask, "negative": nothing, "negative_mask": nothing_mask,
            "visual": torch.zeros(count, visual_rows(tokens), dims.visual_dim),
            "sync": torch.zeros(count, tokens, dims.sync_dim), "flags": torch.zeros(count, 2),
        }  # fmt: skip
        generator = torch.Generator().manual_seed(start)
        noise = torch.randn(count, dims.latent_dim, 2 * tokens, generator=generator)
        latents = trajectory(velocity_of(model, feeds, guidance, has_bf16_units("cpu")), noise, steps)[-1]
        with torch.no_grad():
            for row in latents:
                yield decode(row[None]).flatten().numpy()


def words(
    captioner: Captioner, texts: list[str], table: TimbreTable | None, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Text features of a batch as the runtime has them, padded, and their mask."""
    rows = []
    for number, text in enumerate(texts):
        feat = captioner([text])[0].numpy()
        if table is not None:
            named = table.named(text, lambda phrase: captioner([phrase])[0][0, 0].numpy())
            feat = table.beside(feat, named, seed + number)
        rows.append(torch.from_numpy(feat[0]))
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(row), dtype=torch.bool) for row in rows], True)
    return torch.nn.utils.rnn.pad_sequence(rows, True), mask


def table_for(model: Transformer, captioner: Captioner, runs: Path) -> TimbreTable | None:
    """The examples that a model is shown, from the school; None for a model that is shown none."""
    if not model.config.timbre_components:
        return None
    embed = lambda phrases: np.concatenate([captioner([p])[0][:, 0].numpy() for p in phrases])  # noqa: E731
    return school_table(model.timbre_in, runs, embed)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--aisfx", type=Path, required=True, help="folder with cnn2d.py and checkpoint.pth")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="holds codec, text, transformer")
    parser.add_argument("--transformer", type=Path, help="another folder with a transformer's last.pt")
    parser.add_argument("--sounds", type=Path, nargs="+", required=True, help="folders with manifest.tsv")
    parser.add_argument("--library", type=Path, default=Path("runs/library"), help="cache of the cuts")
    parser.add_argument("--guidance", type=float, nargs="+", default=[2.5])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--blind", action="store_true", help="without the timbres of what the words name")
    parser.add_argument("--languages", nargs="+", default=["en", "zh"])
    parser.add_argument("--limit", type=int, help="so many concepts only")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    library = SoundLibrary.build(tuple(args.sounds), args.library)
    embed = Aisfx(args.aisfx)
    sides = lambda c: [any(True for _ in recordings(library, c, side)) for side in (False, True)]  # noqa: E731
    concepts = [c for c in library.concepts.values() if all(sides(c))][: args.limit]
    place = Map(library, embed, concepts)
    result: dict[str, object] = {"concepts": len(concepts)}
    ranks = [place.rank(w, c.id) for c in concepts for w in recordings(library, c, True)]
    result["held-out recordings"] = summary(ranks)
    folder = args.transformer or args.runs / "transformer"
    about = folder / "transformer.json"
    config = TransformerConfig(**json.loads(about.read_text())) if about.exists() else None
    model = load(folder, config)
    captioner, codec = Captioner(args.runs / "text", "cpu"), load_codec(args.runs / "codec")
    table = None if args.blind else table_for(model, captioner, args.runs)
    for guidance in args.guidance:
        for language in args.languages:
            texts = [c.phrases(language)[0] for c in concepts]
            made = sounds(model, captioner, codec.decoder, texts, args.steps, guidance, table)
            ranks = [place.rank(w, c.id) for w, c in zip(made, concepts, strict=True)]
            result[f"guidance {guidance:g}, {language}"] = summary(ranks)
            print(json.dumps({f"{guidance:g} {language}": summary(ranks)}), flush=True)
    print(json.dumps(result))
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


def load(folder: Path, config: TransformerConfig | None) -> Transformer:
    """The averaged weights of a run, finished or not."""
    from edgefoley.models.transformer import NANO

    model = Transformer(config or NANO).eval()
    if (folder / "transformer.safetensors").exists():
        model.load_state_dict(load_file(folder / "transformer.safetensors"))
    else:
        model.load_state_dict(
            torch.load(folder / "last.pt", weights_only=True, map_location="cpu")["average"]
        )
    return model


def summary(ranks: list[int]) -> dict[str, object]:
    """Shares of right answers with 95 % intervals, and the median rank."""
    at = np.array(ranks)
    return {
        "top1": interval([float(r < 1) for r in at]),
        "top5": interval([float(r < 5) for r in at]),
        "median_rank": float(np.median(at)),
        "sounds": len(at),
    }


if __name__ == "__main__":
    main()
