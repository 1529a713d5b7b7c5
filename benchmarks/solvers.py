"""How far from the end of an endless walk each solver stops: python benchmarks/solvers.py [--json FILE]

From the same noise and conditions (single sounds by words, and the example clip) every solver walks in few
steps; the reference is the midpoint rule in --reference steps. Per setting: evaluations of the velocity (what
time is made of), distance of the latents from the reference relative to its own size, and distance of the
sounds in log-mel bands (dB; two seeds differ by what the row "another seed" says). Medians over the cases.

Nothing here says how good a sound is, only how much of the model's own answer a short walk keeps.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from outcome import put_out

from edgefoley import media
from edgefoley.metrics.audio_quality import log_mel_distance
from edgefoley.pipeline import Pipeline
from edgefoley.sampling import SOLVERS, evaluated, sigmas
from edgefoley.types import Conditioning, FloatArray

CLIP = Path(__file__).parent.parent / "examples" / "bouncing_ball.mp4"
WORDS = (
    "glass breaks",
    "heavy rain",
    "a dog barks",
    "脚步踩在碎石上",
    "a car passes by",
    "键盘打字声",
    "church bells",
)
SECONDS = Fraction(5)
STEPS = {
    "euler": (4, 6, 8, 12, 25),
    "adams-bashforth": (4, 6, 8, 12, 25),
    "midpoint": (2, 3, 4, 6),
    "heun": (2, 3, 4, 6),
}


class Walker:
    """Latents and sound of one case from one noise, by any solver and schedule."""

    def __init__(self, pipeline: Pipeline, conditioning: Conditioning, guidance: float) -> None:
        self.pipeline, self.conditioning, self.guidance = pipeline, conditioning, guidance

    def latents(self, solver: str, steps: int, shift: float, seed: int) -> FloatArray:
        own = self.pipeline.bundle
        self.pipeline.bundle = replace(own, defaults=replace(own.defaults, solver=solver, shift=shift))
        try:
            *_, last = self.pipeline.denoise(self.conditioning, seed, steps, self.guidance)
        finally:
            self.pipeline.bundle = own
        return last.latents

    def sound(self, latents: FloatArray) -> FloatArray:
        return self.pipeline.decode(latents, self.conditioning.duration).samples


def conditionings(pipeline: Pipeline) -> list[Conditioning]:
    clip = media.read_clip(CLIP, pipeline.bundle.views())
    made = [pipeline.encode(clip, words) for words in ("a ball bounces on a wooden floor", "")]
    return made + [pipeline.encode(None, words, duration=SECONDS) for words in WORDS]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="nano")
    parser.add_argument("--guidance", type=float, help="default: the model's")
    parser.add_argument("--shifts", type=float, nargs="+", default=[1.0, 2.0])
    parser.add_argument("--reference", type=int, default=64, help="steps of the midpoint rule")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with Pipeline.open(arguments.model) as pipeline:
        guidance = pipeline.bundle.defaults.guidance if arguments.guidance is None else arguments.guidance
        cases = [Walker(pipeline, c, guidance) for c in conditionings(pipeline)]
        true = [case.latents("midpoint", arguments.reference, 1.0, arguments.seed) for case in cases]
        heard = [case.sound(latents) for case, latents in zip(cases, true, strict=True)]

        def row(name: str, steps: int, shift: float, seed: int) -> dict[str, Any]:
            made = [case.latents(name, steps, shift, seed) for case in cases]
            errors = [
                float(np.linalg.norm(m - t) / np.linalg.norm(t)) for m, t in zip(made, true, strict=True)
            ]
            mels = [
                log_mel_distance(case.sound(m), wave)
                for case, m, wave in zip(cases, made, heard, strict=True)
            ]
            return {
                "solver": name if seed == arguments.seed else "another seed",
                "steps": steps,
                "shift": shift,
                "evaluations": len(evaluated(SOLVERS[name], sigmas(steps))),
                "error": round(float(np.median(errors)), 4),
                "log_mel_db": round(float(np.median(mels)), 3),
            }

        print("| solver | steps | shift | evaluations | error of latents | log-mel distance |")
        print("|---|---|---|---|---|---|")
        for name, counts in STEPS.items():
            for shift in arguments.shifts:
                for steps in counts:
                    rows.append(row(name, steps, shift, arguments.seed))
                    print("| " + " | ".join(map(str, rows[-1].values())) + " |", flush=True)
        rows.append(row("euler", 12, 1.0, arguments.seed + 1))
        print("| " + " | ".join(map(str, rows[-1].values())) + " |", flush=True)
    put_out(
        {"model": arguments.model, "guidance": guidance, "reference": arguments.reference, "rows": rows},
        arguments.json,
    )


if __name__ == "__main__":
    main()
