"""Many guided steps become a few unguided ones: ``edgefoley distill steps``.

@@ESSAY@@
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import torch
from torch import Tensor, nn

from edgefoley.models.transformer import Transformer
from edgefoley.train.before_after import Contestant, compare, write_table
from edgefoley.train.distill_run import Effort, Say, Source, claim, described, finish, random_of, trial_of
from edgefoley.train.loop import Average, mark_done, train
from edgefoley.train.sampler import Velocity, grid, trajectory, velocity_of
from edgefoley.train.teachers import Batch, NetworkTeacher, load_network
from edgefoley.train.trajectories import StoredWalks, Walks, walk, write
from edgefoley.train.unwanted import fold

STREAM: Final = 2  # of the random numbers of training steps
GUIDED_AGAIN: Final = 1.5  # guidance on top of the folded one, in the table
TRAJECTORIES: Final = "trajectories"
REPORT: Final = 10  # batches of walks between two words about them
UNSEEN: Final = 1_000_000  # number of walks that no training sees
Validate = Callable[[nn.Module], dict[str, float]]


@dataclass(frozen=True)
class StepsPlan:
    """A run of ``edgefoley distill steps``: ``walks`` by the ``teacher`` over ``batches`` batches, of which a
    share ``negatives`` of the examples has a negative prompt; ``own``: share of the training steps that begin
    in the student's own states; ``start``: other weights than the teacher's to begin with."""

    out: Path
    teacher: Path
    levels: int = 4
    teacher_steps: int = 12
    batches: int = 300
    negatives: float = 0.25
    own: float = 0.5
    start: Path | None = None

    @property
    def walks(self) -> Walks:
        return Walks(self.out / TRAJECTORIES, self.levels, self.teacher_steps)


def own_states(velocity: Velocity, noise: Tensor, levels: int) -> Tensor:
    """States (N, B, D, L) at which the student itself arrives before each of its steps, without gradient."""
    with torch.no_grad():
        return torch.stack(trajectory(velocity, noise, levels)[:-1])


def jump_loss(
    velocity: Velocity, weights: Tensor, states: Tensor, own: bool, generator: torch.Generator
) -> Tensor:
    """Mean squared error (B,) of one jump per example, at a level drawn for each, channels weighed.

    ``states`` (N + 1, B, D, L) of the teacher. The jump begins in the teacher's state at that level or in the
    student's ``own``, and has to end in the teacher's next state.
    """
    levels, count = len(states) - 1, states.shape[1]
    level = torch.randint(0, levels, (count,), generator=generator).to(states.device)
    row = torch.arange(count, device=states.device)
    begin = own_states(velocity, states[0], levels) if own else states
    now, then = begin[level, row], states[level + 1, row]
    sigma = torch.tensor(grid(levels), device=states.device)[level]
    error = velocity(now, sigma) - (now - then) * levels
    return (weights * error.square()).mean((1, 2))


def learn(
    student: Transformer, source: Source, plan: StepsPlan, effort: Effort, validate: Validate
) -> Average:
    """Train the student on the stored walks, or go on; returns the averaged weights."""
    network = student
    if effort.compiled:
        network = cast(Transformer, torch.compile(student, dynamic=False))
    stored = StoredWalks(plan.walks, source.train, plan.batches)

    def velocity(of: Transformer, batch: Batch) -> Velocity:
        return velocity_of(of, fold(batch), 1.0, effort.bf16)

    def loss_fn(step: int) -> dict[str, Tensor]:
        batch, states = stored(step)
        generator = random_of(step, STREAM)
        own = float(torch.rand((), generator=generator)) < plan.own
        loss = jump_loss(velocity(network, batch), source.weights, states, own, generator).mean()
        return {"loss": loss, "own": torch.tensor(float(own))}

    return train(student, loss_fn, plan.out, effort.loop(), validate)


def checker(
    student: Transformer, teacher: NetworkTeacher, source: Source, plan: StepsPlan, effort: Effort
) -> Validate:
    """A check for ``learn``: distance of the student's ends from the teacher's on two held-out batches."""
    pairs = [(batch := source.held_out(i), walk(plan.walks, teacher, batch, UNSEEN + i)) for i in range(2)]

    @torch.no_grad()
    def validate(_: nn.Module) -> dict[str, float]:
        errors = []
        for batch, states in pairs:
            velocity = velocity_of(student, fold(batch), 1.0, effort.bf16)
            made = trajectory(velocity, states[0], plan.levels)[-1]
            errors.append((source.weights * (made - states[-1]).square()).mean())
        return {"end_rms": float(torch.stack(errors).mean().sqrt())}

    return validate


def contestants(
    teacher: Transformer, student: Transformer, plan: StepsPlan, guidance: float
) -> list[Contestant]:
    """Who is compared: the teacher as it is to be, the teacher in as few steps with and without guidance, the
    student as it began where that was not the teacher, the student, and the student guided once more."""
    found = [
        Contestant("teacher", teacher, plan.teacher_steps, guidance),
        Contestant("teacher, few steps", teacher, plan.levels, guidance),
        Contestant("teacher, few steps, unguided", teacher, plan.levels),
    ]
    if plan.start is not None:
        start = load_network(plan.start).to(next(teacher.parameters()).device)
        found.append(Contestant("student before", start, plan.levels, folded=True))
    return [
        *found,
        Contestant("student", student, plan.levels, folded=True),
        Contestant("student, guided again", student, plan.levels, GUIDED_AGAIN),
    ]


def write_walks(plan: StepsPlan, teacher: NetworkTeacher, source: Source, effort: Effort, say: Say) -> None:
    """The teacher's walks, those that are not there yet."""
    plain = teacher.network
    if effort.compiled:
        teacher.compile()
    for step in write(plan.walks, teacher, source.train, plan.batches):
        if (step + 1) % REPORT == 0 or step + 1 == plan.batches:
            say(f"trajectories: {step + 1} of {plan.batches} batches")
    teacher.network = plain  # what follows sees shapes that the walks did not


def distill_steps(plan: StepsPlan, teacher: NetworkTeacher, source: Source, effort: Effort, say: Say) -> str:
    """Run or resume: walks, training, then weights, sizes, origin and table into ``plan.out``; returns the
    table. Raises UsageError when the folder is another run's or the examples do not fit the teacher."""
    source.check(teacher.config)
    facts = {
        "teacher": str(plan.teacher), "start": plan.start and str(plan.start), "levels": plan.levels,
        "teacher_steps": plan.teacher_steps, "guidance": teacher.guidance, "batches": plan.batches,
        "negatives": plan.negatives, "own": plan.own, **described(effort),
    }  # fmt: skip
    claim(plan.out, {"what": "distill steps", **facts})
    write_walks(plan, teacher, source, effort, say)
    student = load_network(plan.start or plan.teacher).to(effort.device).requires_grad_(True)
    average = learn(student, source, plan, effort, checker(student, teacher, source, plan, effort))
    finish(plan.out, student, average, teacher.origin.then("distill steps", **facts))
    trial = trial_of(source, effort)
    rows = compare(contestants(teacher.network, student, plan, teacher.guidance), trial, say)
    text = write_table(plan.out, rows, trial, **facts)
    mark_done(plan.out, average, effort.loop())
    return text
