"""Many guided steps become a few unguided ones: ``edgefoley distill steps``.

The teacher walks from noise to sound in many guided steps, and the student learns two things of its walks
(``trajectories``): to jump from one of its few noise levels to the next, and, walking by itself, to end where
a critic cannot tell its latents from real ones. Guidance, and the negative prompt with it, is folded into
what the student is told (``unwanted.fold``), so that a step is one pass.

Progressive distillation (Salimans and Ho 2022, arXiv 2202.00512) in one stage, with guidance folded in as by
Meng et al. (2023, arXiv 2210.03142), and an adversarial end as in Sauer et al. (2023, arXiv 2311.17042).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from edgefoley.models.transformer import Transformer
from edgefoley.train.before_after import Contestant, compare, write_table
from edgefoley.train.critic import Critic, critic_loss, passing_loss
from edgefoley.train.distill_run import Effort, Say, Source, claim, described, finish, random_of, trial_of
from edgefoley.train.loop import Average, mark_done, train
from edgefoley.train.sampler import Velocity, grid, trajectory, velocity_of
from edgefoley.train.teachers import NetworkTeacher, compiled, load_network
from edgefoley.train.trajectories import StoredWalks, Walks, walk, write
from edgefoley.train.unwanted import fold

# Scales the critic's loss beside the student's. The optimiser undoes it for the critic; the common limit of
# the gradients' length is then the student's.
QUIET: Final = 0.01
STREAM: Final = 2  # of the random numbers of training steps
GUIDED_AGAIN: Final = 1.5  # guidance on top of the folded one, in the table
TRAJECTORIES: Final = "trajectories"
REPORT: Final = 10  # batches of walks between two words about them
UNSEEN: Final = 1_000_000  # number of walks that no training sees
Validate = Callable[[nn.Module], dict[str, float]]


@dataclass(frozen=True)
class StepsPlan:
    """A run of ``edgefoley distill steps``: ``walks`` by the ``teacher`` over ``batches`` batches, of which a
    share ``negatives`` of the examples has a negative prompt; ``own``: share of the training steps on which
    the student also walks by itself and its end is judged, ``critic``: how much that weighs then;
    ``start``: other weights than the teacher's to begin with."""

    out: Path
    teacher: Path
    levels: int = 4
    teacher_steps: int = 12
    batches: int = 300
    negatives: float = 0.25
    own: float = 0.5
    critic: float = 0.1
    start: Path | None = None

    @property
    def walks(self) -> Walks:
        return Walks(self.out / TRAJECTORIES, self.levels, self.teacher_steps)


class Pair(nn.Module):
    """Student and critic, trained by one optimiser: each loss reaches one of the two only."""

    def __init__(self, student: Transformer) -> None:
        super().__init__()
        self.student, self.critic = student, Critic(student.config)

    def student_of(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The student's part of a state dict of the pair."""
        head = "student."
        return {name.removeprefix(head): value for name, value in state.items() if name.startswith(head)}


def jump_loss(velocity: Velocity, weights: Tensor, states: Tensor, generator: torch.Generator) -> Tensor:
    """Mean squared error (B,) of one jump per example, at a level drawn for each, channels weighed.

    ``states`` (N + 1, B, D, L) of the teacher, of which two neighbours say where a jump begins and ends.
    """
    levels, count = len(states) - 1, states.shape[1]
    level = torch.randint(0, levels, (count,), generator=generator).to(states.device)
    row = torch.arange(count, device=states.device)
    now, then = states[level, row], states[level + 1, row]
    sigma = torch.tensor(grid(levels), device=states.device)[level]
    error = velocity(now, sigma) - (now - then) * levels
    return (weights * error.square()).mean((1, 2))


def own_end(velocity: Velocity, noise: Tensor, levels: int) -> Tensor:
    """Where the student ends when it walks by itself, (B, D, L); the gradient is that of the last jump."""
    x = noise
    for k, now in enumerate(grid(levels)[:-1]):
        with torch.set_grad_enabled(k == levels - 1):
            x = x - velocity(x, noise.new_full((len(noise),), now)) / levels
    return x


def learn(
    student: Transformer, source: Source, plan: StepsPlan, effort: Effort, validate: Validate
) -> tuple[Average, dict[str, Tensor]]:
    """Train the student on the stored walks, or go on; returns the run's averages and, of them, the
    student's weights."""
    torch.manual_seed(0)
    pair = Pair(student).to(effort.device)
    network = compiled(student) if effort.compiled else student
    stored = StoredWalks(plan.walks, source.train, plan.batches)

    def loss_fn(step: int) -> dict[str, Tensor]:
        batch, states = stored(step)
        generator = random_of(step, STREAM)
        judged = float(torch.rand((), generator=generator)) < plan.own
        velocity = velocity_of(network, fold(batch), 1.0, effort.bf16)
        jump = jump_loss(velocity, source.weights, states, generator).mean()
        if not judged:
            return {"loss": jump, "jump": jump}
        made, true = own_end(velocity, states[0], plan.levels), states[-1]
        noise = torch.randn(true.shape, generator=generator).to(true.device)
        against = critic_loss(pair.critic, made, true, noise, batch)
        total = jump + plan.critic * passing_loss(pair.critic, made, batch) + QUIET * against
        return {"loss": total, "jump": jump, "critic": against}

    average = train(pair, loss_fn, plan.out, effort.loop(), validate)
    return average, pair.student_of(average.state)


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
        "negatives": plan.negatives, "own": plan.own, "critic": plan.critic, **described(effort),
    }  # fmt: skip
    claim(plan.out, {"what": "distill steps", **facts})
    write_walks(plan, teacher, source, effort, say)
    student = load_network(plan.start or plan.teacher).to(effort.device).requires_grad_(True)
    average, weights = learn(student, source, plan, effort, checker(student, teacher, source, plan, effort))
    finish(plan.out, student, weights, teacher.origin.then("distill steps", **facts))
    trial = trial_of(source, effort)
    rows = compare(contestants(teacher.network, student, plan, teacher.guidance), trial, say)
    text = write_table(plan.out, rows, trial, **facts)
    mark_done(plan.out, average, effort.loop())
    return text
