"""Encode composed mixes into latents once: ``python -m edgefoley.train.latents --codec runs/codec --mixes runs/mixes``.

The first call also measures mean and standard deviation of each latent channel over the first shards and stores them in
the codec, so that the transformer sees channels of zero mean and unit variance. They are never changed afterwards:
latents written earlier would no longer fit.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
import torch

from edgefoley.models.codec import Codec
from edgefoley.train.codec import load_codec, save_codec


def encode_shard(codec: Codec, waves: np.ndarray, batch: int = 8) -> np.ndarray:
    """int16 waves (n, samples) -> raw mean latents (n, D, L) float32."""
    parts = []
    device = next(codec.parameters()).device
    with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16):
        for start in range(0, len(waves), batch):
            wave = torch.from_numpy(waves[start : start + batch].astype(np.float32) / 32768.0).to(device)
            parts.append(codec.encoder(wave)[0].float().cpu().numpy())
    return np.concatenate(parts)


def measure(codec: Codec, paths: list[Path]) -> None:
    """Set ``latent_mean`` and ``latent_std`` from sounding latents of the given shards."""
    latents = np.concatenate([encode_shard(codec, np.load(p, mmap_mode="r")[:32]) for p in paths])
    flat = latents.transpose(1, 0, 2).reshape(latents.shape[1], -1)
    codec.decoder.latent_mean.copy_(torch.from_numpy(flat.mean(1)))
    codec.decoder.latent_std.copy_(torch.from_numpy(flat.std(1).clip(1e-3)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codec", type=Path, default=Path("runs/codec"))
    parser.add_argument("--mixes", type=Path, default=Path("runs/mixes"))
    args = parser.parse_args()
    codec = load_codec(args.codec)
    shards = sorted(p.with_suffix(".npy") for p in args.mixes.glob("mix_*.json"))
    if not shards:
        raise SystemExit(f"no mixes in {args.mixes}: run python -m edgefoley.train.mixes first")
    marker = args.codec / "latents.json"
    if not marker.exists():
        measure(codec, shards[:8])
        save_codec(codec, args.codec)
        stats = {k: getattr(codec.decoder, k).tolist() for k in ("latent_mean", "latent_std")}
        marker.write_text(json.dumps(stats))
    mean = codec.decoder.latent_mean.numpy()[:, None]
    std = codec.decoder.latent_std.numpy()[:, None]
    for path in shards:
        target = path.with_name(path.stem.replace("mix", "latents") + ".npy")
        if target.exists():
            continue
        latents = (encode_shard(codec, np.load(path, mmap_mode="r")) - mean) / std
        with (part := target.with_suffix(".part")).open("wb") as file:
            np.save(file, latents.astype(np.float16))
        os.replace(part, target)
        print(target.name, flush=True)


if __name__ == "__main__":
    main()
