"""Encode the sounds of lessons into latents again: ``python -m edgefoley.train.latents --codec runs/codec``.

For a school whose lessons were made before the codec, or with another one. Needs the codec's analysis only,
which is fitted before its decoder is trained. ``--part 0/2`` and ``--part 1/2`` in two processes share the
work.
"""

from __future__ import annotations

import argparse
import json
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
    from edgefoley.train.school.shards import claim_codec, latents_path, read_flac, write_latents

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--codec", type=Path, default=Path("runs/codec"))
    parser.add_argument("--school", type=Path, default=Path("runs/school"))
    parser.add_argument("--part", default="0/1", help="which share of the shards, as i/n")
    args = parser.parse_args()
    claim_codec(args.school, args.codec)
    codec = load_codec(args.codec)
    part, parts = map(int, args.part.split("/"))
    shards = sorted(args.school.glob("lessons_*.json"))[part::parts]
    if not shards:
        raise SystemExit(f"no lessons in {args.school}: run edgefoley train make-data first")
    for path in shards:
        if latents_path(path).exists():
            continue
        latents = encode_shard(codec, read_flac(path.with_suffix(".flac"), len(json.loads(path.read_text()))))
        print(write_latents(path, latents).name, flush=True)


if __name__ == "__main__":
    main()
