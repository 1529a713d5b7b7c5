"""Train nano's transformer by flow matching:
``python -m edgefoley.train.transformer --out runs/transformer``.

Needs runs/codec, runs/text and runs/mixes with latents. Each example is a stretch of a mix: its latents, a
caption in English or Chinese, the event curve of its scenes with errors added, and rows for the picture: in
nano the picture speaks through names of classes, so a row is a blend of sentence vectors in which the right
one weighs most. Each condition is dropped at times, so that every combination works and guidance has an
unconditional branch.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from edgefoley.models.transformer import NANO, Transformer
from edgefoley.train.loop import LoopConfig, mark_done, train
from edgefoley.train.sync_curve import degrade, draw_curve
from edgefoley.train.text import load_encoder
from edgefoley.train.words.concepts import Concept, caption, load_concepts

LATENT_RATE = 50


class Captioner:
    """Text -> features by the frozen text encoder, in padded batches."""

    def __init__(self, folder: Path, device: str) -> None:
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.encoder = load_encoder(folder).to(device)
        self.device = device

    @torch.no_grad()
    def __call__(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """-> text_feat (B, T, D) and mask (B, T) bool."""
        ids = [self.tokenizer.encode(text).ids for text in texts]
        width = max(map(len, ids))
        tokens = torch.tensor([row + [0] * (width - len(row)) for row in ids], device=self.device)
        mask = torch.tensor(
            [[1.0] * len(row) + [0.0] * (width - len(row)) for row in ids], device=self.device
        )
        return self.encoder(tokens, mask).float(), mask.bool()


class Examples:
    """``self(step)`` is a pure function of seed and step."""

    def __init__(
        self, mixes: Path, codec: Path, captioner: Captioner, batch: int, seed: int, last: bool
    ) -> None:
        paths = sorted(mixes.glob("latents_*.npy"))
        if len(paths) < 2:
            raise SystemExit(
                f"fewer than two shards of latents in {mixes}: run python -m edgefoley.train.latents first"
            )
        chosen = paths[-1:] if last else paths[:-1]  # the last shard validates
        self.latents = [np.load(p, mmap_mode="r") for p in chosen]
        self.mixes: list[dict[str, Any]] = []
        for path in chosen:
            self.mixes += json.loads(
                path.with_name(path.name.replace("latents", "mix")).with_suffix(".json").read_text()
            )
        self.per_shard = len(self.latents[0])
        # The first component is loudness, but an eigenvector's sign is arbitrary.
        self.loudness = (
            1.0 if load_file(codec / "codec.safetensors")["encoder.synthesis"][0].sum() > 0 else -1.0
        )
        self.captioner, self.batch, self.seed = captioner, batch, seed
        self.concepts = {c.id: c for c in load_concepts()}
        everything = [c.phrases(lang)[0] for c in self.concepts.values() for lang in ("en", "zh")]
        self.vectors = captioner(everything)[0][:, 0]

    def visual(self, concept: Concept, rows: int, rng: np.random.Generator) -> Tensor:
        """Rows (rows, D): a blend of sentence vectors, the concept's own with a random share."""
        names = [concept.phrases(lang)[int(rng.integers(2))] for lang in ("en", "zh")]
        own = self.captioner(names)[0][:, 0].mean(0)
        share = float(rng.uniform(0.15, 0.95))
        picks = rng.integers(0, len(self.vectors), (rows, 4))
        weights = torch.from_numpy(rng.dirichlet(np.ones(4), rows).astype(np.float32)).to(own.device)
        steady = torch.from_numpy(picks[:1].repeat(rows, 0)).to(own.device)
        varied = torch.from_numpy(picks).to(own.device)
        others = (self.vectors[torch.where(weights > 0.3, varied, steady)] * weights[..., None]).sum(1)
        return share * own + (1 - share) * others

    def __call__(self, step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.seed, step])
        tokens = int(rng.choice([100, 150, 200, 250], p=[0.35, 0.25, 0.15, 0.25]))
        size, rows = 2 * tokens, max(1, -(-tokens * 2 // 25))
        latents, texts, visuals, syncs, flags = [], [], [], [], []
        for _ in range(max(1, round(self.batch * 250 / tokens))):
            index = int(rng.integers(len(self.mixes)))
            mix = self.mixes[index]
            concepts = [self.concepts[c] for c in mix["concepts"]]
            language = "en" if rng.random() < 0.5 else "zh"
            drop = rng.random()
            texts.append(
                "" if drop < 0.15 else caption(concepts, language, rng, int(rng.choice([0, 1, 1, 2])))
            )
            picture = bool(mix["scenes"]) and rng.random() > 0.22
            whole = self.latents[index // self.per_shard][index % self.per_shard]
            begins = 2 * rng.integers(0, (500 - size) // 2 + 1, 1 if picture else 6)
            # Words alone ask for a sound: without a picture to explain a silence, take the fullest stretch.
            begin = int(max(begins, key=lambda b: self.loudness * float(whole[0, b : b + size].mean())))
            latents.append(whole[:, begin : begin + size].astype(np.float32))
            curve = np.zeros((tokens, NANO.sync_dim), np.float32)
            if picture:
                times, strengths = np.array(mix["events"], dtype=np.float64).reshape(-1, 2).T
                activity = np.array(mix["activity"], dtype=np.float32)
                at = begin / LATENT_RATE
                inside = (times >= at) & (times < at + tokens / 25)
                noisy = degrade(times[inside] - at, strengths[inside], tokens / 25, rng)
                curve = draw_curve(*noisy, activity[begin : begin + size], tokens)
            see = picture and rng.random() < (0.9 if not texts[-1] else 0.6)
            visuals.append(self.visual(concepts[0], rows, rng) if see else torch.zeros(rows, NANO.visual_dim))
            syncs.append(curve)
            flags.append((float(see), float(picture)))
        text, mask = self.captioner(texts)
        device = text.device
        return {
            "latents": torch.from_numpy(np.stack(latents)).to(device), "text": text, "mask": mask,
            "visual": torch.stack([v.to(device) for v in visuals]),
            "sync": torch.from_numpy(np.stack(syncs)).to(device), "flags": torch.tensor(flags, device=device),
        }  # fmt: skip


def channel_weights(codec: Path) -> Tensor:
    """Weight (D, 1) of each latent channel: the square root of how much it moves the spectrum, mean one.

    Latents are whitened, so without weights the last components, mostly chance, would get as much of a small
    network's attention as loudness and timbre. The optimum is the same.
    """
    deviation = load_file(codec / "codec.safetensors")["encoder.synthesis"].norm(dim=1)
    return (deviation.sqrt() / deviation.sqrt().mean())[:, None]


def flow_loss(
    model: Transformer, weights: Tensor, batch: dict[str, Tensor], sigma: Tensor, noise: Tensor
) -> Tensor:
    """Mean squared error of the velocity (noise - data) at ``sigma`` (B,), channels weighed by
    ``weights``."""
    data = batch["latents"]
    at = sigma[:, None, None]
    see, timed = batch["flags"][:, 0, None, None], batch["flags"][:, 1, None, None]
    visual = see * batch["visual"] + (1 - see) * model.empty_clip_feat
    sync = timed * batch["sync"] + (1 - timed) * model.empty_sync_feat
    with torch.autocast(data.device.type, dtype=torch.bfloat16):
        mask = batch["mask"][:, None, None, :]
        made = model(at * noise + (1 - at) * data, 1000 * sigma, batch["text"], visual, sync, mask)
    return (weights * (made.float() - (noise - data)).square()).mean((1, 2))


def adopt(model: Transformer, folder: Path) -> int:
    """Copy the averaged weights of another run whose names and shapes agree; returns how many tensors."""
    found = torch.load(folder / "last.pt", weights_only=True, map_location="cpu")["average"]
    own = model.state_dict()
    same = {k: v for k, v in found.items() if k in own and own[k].shape == v.shape}
    model.load_state_dict({**own, **same})
    return len(same)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="holds codec, text, mixes and sync")
    parser.add_argument("--out", type=Path, default=Path("runs/transformer"))
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument(
        "--batch", type=int, default=10, help="ten-second examples a step; shorter ones are more"
    )
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--start", type=Path, help="begin with another run's weights wherever shapes agree")
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    captioner = Captioner(args.runs / "text", args.device)
    make: Callable[[int, bool], Examples] = lambda seed, last: Examples(  # noqa: E731
        args.runs / "mixes", args.runs / "codec", captioner, args.batch, seed, last
    )
    examples, held_out = make(1, False), make(2, True)
    torch.manual_seed(0)
    model = Transformer(NANO)
    model.initialise()
    if args.start is not None:
        taken = adopt(model, args.start)
        print(f"{taken} of {len(model.state_dict())} tensors from {args.start}", flush=True)
    model.to(args.device)
    weights = channel_weights(args.runs / "codec").to(args.device)
    generator = torch.Generator().manual_seed(5)
    check = []
    for i in range(4):
        batch = held_out(i)
        count = len(batch["latents"])
        sigma = ((torch.arange(count) + 0.5) / count).to(args.device)
        check.append((batch, sigma, torch.randn(batch["latents"].shape, generator=generator).to(args.device)))

    def loss_fn(step: int) -> dict[str, Tensor]:
        batch = examples(step)
        count = len(batch["latents"])
        # Half logit-normal (Esser et al. 2024, arXiv 2403.03206), half uniform: the ends matter with few
        # steps.
        spread = torch.where(torch.rand(count) < 0.5, torch.rand(count), torch.randn(count).sigmoid())
        sigma = spread.clamp(1e-3, 1).to(args.device)
        return {"loss": flow_loss(model, weights, batch, sigma, torch.randn_like(batch["latents"])).mean()}

    def validate(_: nn.Module) -> dict[str, float]:
        with torch.no_grad():
            return {"val_loss": float(torch.cat([flow_loss(model, weights, *c) for c in check]).mean())}

    config = LoopConfig(steps=args.steps, rate=args.rate, minutes=args.minutes, warmup=300, weight_decay=0.02)
    average = train(model, loss_fn, args.out, config, validate)
    save_file(
        {k: v.contiguous().cpu() for k, v in average.state.items()}, args.out / "transformer.safetensors"
    )
    (args.out / "transformer.json").write_text(json.dumps(asdict(NANO), indent=1))
    mark_done(args.out, average, config)


if __name__ == "__main__":
    main()
