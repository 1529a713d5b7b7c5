"""Clips to calibrate nano with: ``python -m edgefoley.train.calibration_clips --out runs/calibration/clips``.

Rendered scenes, one for each kind of sound, named after the prompt that goes with them: real clips may be
used to measure what is shipped, not to make it. The same version of the renderer gives the same pictures.
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path
from typing import Final

import av

from edgefoley.train.scenes.film import film
from edgefoley.train.scenes.truth import Film

SECONDS: Final = 10.0
SIZE: Final = 224
RATE: Final = 25
# What is shown, and the words for it: both languages, and hits, steps, voices, bursts and streams.
SCENES: Final = (
    ("strike", "a hammer hits metal"),
    ("walk", "脚步踩在木地板上"),
    ("vocal", "a dog barks"),
    ("pour", "water is poured into a glass"),
    ("engine", "汽车驶过"),
    ("keys", "typing on a keyboard"),
    ("rain", "heavy rain"),
    ("burst", "爆炸"),
)


def write_film(shown: Film, path: Path) -> None:
    """An MP4 without sound whose frames keep their times to the millisecond."""
    partial = path.with_name(f".{path.name}")
    base = Fraction(1, 1000)
    with av.open(str(partial), "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"crf": "18", "threads": "1"})
        stream.height, stream.width = shown.frames.shape[1:3]
        stream.pix_fmt, stream.time_base, stream.codec_context.time_base = "yuv420p", base, base
        for pixels, time in zip(shown.frames, shown.timestamps, strict=True):
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            picture.pts, picture.time_base = round(1000 * float(time)), base
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
    partial.replace(path)


def write_clips(folder: Path, seconds: float = SECONDS) -> list[Path]:
    """The clip of every scene in ``folder``; one that is there already stays. Returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, (action, words) in enumerate(SCENES):
        path = folder / f"{words}.mp4"
        if not path.exists():
            write_film(film(900_000 + number, seconds, fps=RATE, size=SIZE, action=action), path)
        paths.append(path)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/calibration/clips"))
    parser.add_argument("--seconds", type=float, default=SECONDS)
    args = parser.parse_args()
    for path in write_clips(args.out, args.seconds):
        print(path, flush=True)


if __name__ == "__main__":
    main()
