"""Encode composed mixes into latents once: ``python -m edgefoley.train.latents --codec runs/codec``.

Needs the codec's analysis only, which is fitted before its decoder is trained. ``--part 0/2`` and ``--part
1/2`` in two processes share the work.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import torch

from edgefoley.models.codec import Codec
from edgefoley.train.codec import load_codec


def encode_shard(codec: Codec, waves: np.ndarray) -> np.ndarray:
    """int16 waves (n, samples) -> latents (n, D, L) float16."""
    with torch.inference_mode():
        parts = [codec.encode(torch.from_numpy(wave[None].astype(np.float32) / 32768.0)) for wave in waves]
    return torch.cat(parts).numpy().astype(np.float16)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--codec", type=Path, default=Path("runs/codec"))
    parser.add_argument("--mixes", type=Path, default=Path("runs/mixes"))
    parser.add_argument("--part", default="0/1", help="which share of the shards, as i/n")
    args = parser.parse_args()
    codec = load_codec(args.codec)
    part, parts = map(int, args.part.split("/"))
    shards = sorted(p.with_suffix(".npy") for p in args.mixes.glob("mix_*.json"))[part::parts]
    if not shards:
        raise SystemExit(f"no mixes in {args.mixes}: run python -m edgefoley.train.mixes first")
    for path in shards:
        target = path.with_name(path.stem.replace("mix", "latents") + ".npy")
        if target.exists():
            continue
        latents = encode_shard(codec, np.load(path, mmap_mode="r"))
        with (part_file := target.with_suffix(".part")).open("wb") as file:
            np.save(file, latents)
        os.replace(part_file, target)
        print(target.name, flush=True)


if __name__ == "__main__":
    main()
