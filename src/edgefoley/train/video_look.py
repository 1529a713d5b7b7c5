"""Held-out films that look like video: ``python -m edgefoley.train.video_look --films runs/sync/val --out
runs/sync/val_video``.

Rendered films are a little softer than video and flicker everywhere; what stands still in a coded video
stands still to the bit, and much moves that makes no sound. ``sync_crops.vivid`` and ``held`` give films that
look for training, and this command gives it, once and for all, to films by which an encoder is chosen and
calibrated. With ``--photos`` it writes them a second time, with what else may be in their pictures
(``among``), and films in which nothing sounds become photographs in which things move (``restless``): nobody
knows which half is nearer to a user's videos. When contacts are, and all else, stays as it is; where they are
follows the picture.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgefoley.train.among import Among
from edgefoley.train.files import whole, write_whole
from edgefoley.train.restless import LAYER_RATE, Restless
from edgefoley.train.scenes import photos
from edgefoley.train.scenes.pool import QUIET, Pool, encode, spans
from edgefoley.train.sync_crops import held, vivid

LAYERS = 60  # fewer than in training: every film is seen once
X, Y = 3, 4  # of a contact's place in its record


def rewrite(films: Path, out: Path, panoramas: photos.Panoramas | None = None, seed: int = 0) -> int:
    """Write every shard of ``films`` anew into ``out``, in gray; returns how many films are there then.
    ``panoramas``: what moves among films is cut from these, and every film is written a second time, among
    others; None: once."""
    pool, total = Pool(films), 0
    ways: list[Among | None] = [None]
    if panoramas is not None:
        size, count = pool.frames(0).shape[1], math.ceil(pool.seconds * LAYER_RATE) + 1
        others = Restless(panoramas, size, LAYERS, count, seed + 1)  # other than in training
        ways.append(Among(pool, others))
    out.mkdir(parents=True, exist_ok=True)
    for number, (among, path) in enumerate(itertools.product(ways, sorted(films.glob("films_*.json")))):
        meta = json.loads(path.read_text())
        position, target = 0, out / f"films_{number:04d}.json"
        with whole(target.with_suffix(".jpegs")) as part, part.open("wb") as file:
            for record in meta["films"]:
                index = total % len(pool)
                rng = np.random.default_rng([seed, record["seed"]])
                frames = pool.frames(index)
                if among is not None:
                    frames = peopled(rng, frames, pool.films[index], record, among)
                frames = held(rng, vivid(rng, frames))
                coded = encode(np.stack([cv2.cvtColor(frame, cv2.COLOR_GRAY2RGB) for frame in frames]))
                record["at"], total = spans(coded, position), total + 1
                position += file.write(b"".join(coded))
        write_whole(target, json.dumps(meta))
    return total


def peopled(
    rng: np.random.Generator,
    frames: NDArray[np.uint8],
    film: dict[str, Any],
    record: dict[str, Any],
    among: Among,
) -> NDArray[np.uint8]:
    """The frames of a film with what else may be in the picture; moves the contacts' places in its
    ``record``."""
    stamps = film["timestamps"]
    if among.others is not None and not len(film["times"]) and film["action"] in (QUIET, "ambience"):
        return among.others.film(rng, stamps)
    frames, places = among(rng, frames, stamps, film["times"], film["places"])
    visible = [row for row in record["contacts"] if 0 <= row[X] <= 1 and 0 <= row[Y] <= 1]
    for row, (x, y) in zip(visible, places.tolist(), strict=True):
        row[X], row[Y] = x, y
    return frames


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--films", type=Path, required=True, help="folder of films")
    parser.add_argument("--out", type=Path, required=True, help="where they go with the look of video")
    parser.add_argument("--photos", type=Path, help="panoramas, to move things among the films")
    args = parser.parse_args()
    panoramas = None if args.photos is None else photos.read(args.photos)
    print(f"{rewrite(args.films, args.out, panoramas)} films in {args.out}")


if __name__ == "__main__":
    main()
