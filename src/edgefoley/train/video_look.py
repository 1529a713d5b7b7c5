"""Held-out films that look like video: ``python -m edgefoley.train.video_look --films runs/sync/val --out
runs/sync/val_video``.

Rendered films are a little softer than video and flicker everywhere; what stands still in a coded video
stands still to the bit. ``sync_crops.vivid`` and ``held`` give films that look for
training, and this command gives it, once and for all, to films by which an encoder is chosen and calibrated.
Contacts and all else stay as they are.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

from edgefoley.train.files import whole, write_whole
from edgefoley.train.scenes.pool import Pool, encode, spans
from edgefoley.train.sync_crops import held, vivid


def rewrite(films: Path, out: Path, seed: int = 0) -> int:
    """Write every shard of ``films`` anew into ``out``, in gray; returns how many films there are."""
    pool, index = Pool(films), 0
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(films.glob("films_*.json")):
        meta = json.loads(path.read_text())
        position, target = 0, out / path.name
        with whole(target.with_suffix(".jpegs")) as part, part.open("wb") as file:
            for record in meta["films"]:
                rng = np.random.default_rng([seed, record["seed"]])
                frames = held(rng, vivid(rng, pool.frames(index)))
                coded = encode(np.stack([cv2.cvtColor(frame, cv2.COLOR_GRAY2RGB) for frame in frames]))
                record["at"], index = spans(coded, position), index + 1
                position += file.write(b"".join(coded))
        write_whole(target, json.dumps(meta))
    return index


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--films", type=Path, required=True, help="folder of films")
    parser.add_argument("--out", type=Path, required=True, help="where they go with the look of video")
    args = parser.parse_args()
    print(f"{rewrite(args.films, args.out)} films in {args.out}")


if __name__ == "__main__":
    main()
