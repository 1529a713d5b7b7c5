"""What a model's other storage loses in every forward: SQNR of the velocity along one trajectory.

Both bundles are asked for the velocity at the same latents and noise level, with the conditioning of the
first one's encoders; the solver then follows the first. So errors do not add up over the steps, and what the
second's conditioner, clock and denoiser lose is seen alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgefoley.bundle import Bundle
from edgefoley.evaluation.sides import EvaluationError, Options, Say, clip_for, opened, prompt_of
from edgefoley.quant.calibrate import model_key
from edgefoley.quant.observe import sqnr_db
from edgefoley.sampling import SOLVERS, evaluated, noise, sigmas
from edgefoley.types import FloatArray
from edgefoley.velocity import VelocityField


@dataclass(frozen=True)
class Forward:
    """One forward: ``clip``, noise level ``sigma`` (1 noise, 0 data), SQNR in dB (inf: equal)."""

    clip: str
    sigma: float
    sqnr_db: float


def why_not(first: Bundle | None, second: Bundle | None) -> str | None:
    """Why there is no velocity to compare; None where there is."""
    if first is None or second is None:
        return "only models have a velocity, and not both sides are one"
    if model_key(first) != model_key(second):
        return "the two models differ in more than how their weights are stored"
    return None


def forwards(
    first: Bundle, second: Bundle, clips: Mapping[str, Path], options: Options, say: Say
) -> list[Forward]:
    """Every forward of every clip. Raises EvaluationError for bundles that ``why_not`` refuses."""
    if reason := why_not(first, second):
        raise EvaluationError(f"no velocity to compare: {reason}.")
    found: list[Forward] = []
    with opened(first, options) as one, opened(second, options) as other:
        defaults = first.defaults
        steps = defaults.steps if options.steps is None else options.steps
        guidance = defaults.guidance if options.guidance is None else options.guidance
        levels = sigmas(steps, defaults.shift)
        solver = SOLVERS[defaults.solver]
        asked = evaluated(solver, levels)
        for number, (clip, video) in enumerate(clips.items()):
            told = one.encode(clip_for(first, video), prompt_of(clip, number, options.prompts))
            fields = [VelocityField(p.graphs, told, guidance, asked) for p in (one, other)]
            depth = int(first.components["denoiser"].attributes["latent_dim"])
            start = noise(options.seed + number, (fields[0].count, depth)).T[None].copy()
            watched = _Watched(fields, clip, found)
            for _ in solver(watched, start, levels):
                pass
            say(f"velocity: {clip}")
    return found


class _Watched:
    """The first field's velocity; what the second's differs is noted."""

    def __init__(self, fields: Sequence[VelocityField], clip: str, found: list[Forward]) -> None:
        self.fields, self.clip, self.found = fields, clip, found

    def __call__(self, latents: FloatArray, sigma: float) -> FloatArray:
        exact, other = (field(latents, sigma) for field in self.fields)
        self.found.append(Forward(self.clip, float(sigma), sqnr_db(exact, other)))
        return exact
