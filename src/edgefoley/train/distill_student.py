"""A smaller network learns a larger one's velocities: ``edgefoley distill student``.

On the way from noise to an example's latents, at a random noise level, the student is asked for the velocity
that the teacher has there (Hinton et al. 2015, "Distilling the knowledge in a neural network", arXiv
1503.02531, for flows). Plain training has noise - data for a target, of which a network can only know the
mean; the teacher's answer is that mean already, as well as a larger network knows it, so the student's
gradient is less noisy by all that nobody can know. A share of the true velocity is mixed in (``true_share``):
it keeps the teacher's own errors from being learnt as if they were true. As both errors are squared, mixing
the targets is mixing the losses.

The teacher may be guided. Its negatives are then folded into the student's words (``train.unwanted``), and
the student is run without guidance; a student of plain velocities is guided when it runs, like its teacher.

``from_data``: the target is the true velocity and, on top, what guidance adds to the teacher's. The student
goes on learning from the examples, also what its teacher has not learnt, and needs one pass where the teacher
needs two. The event curve can have a guidance of its own: as much as words bear makes quiet stretches too
quiet (Tang et al. 2025, "Diffusion models without classifier-free guidance", arXiv 2502.12154, take what
guidance adds from the network itself as it learns).

The student has the teacher's latents and features, and its licence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from edgefoley.models.transformer import Transformer, TransformerConfig
from edgefoley.train.before_after import Contestant, Row, Trial, compare, velocity_error, write_table
from edgefoley.train.distill_run import (
    BEFORE,
    Effort,
    Say,
    Source,
    claim,
    described,
    finish,
    kept,
    random_of,
    sigmas_of,
    trial_of,
)
from edgefoley.train.loop import Average, mark_done, train
from edgefoley.train.sampler import velocity_of
from edgefoley.train.teachers import Batch, NetworkTeacher, Teacher, compiled, load_network
from edgefoley.train.unwanted import fold

STREAM: Final = 1  # of the random numbers of training steps


@dataclass(frozen=True)
class Lesson:
    """What a student is asked for. ``true_share`` 0 … 1 of the target is noise - data; ``folded``: negatives
    are among its words, because the teacher is guided; ``from_data``: all of the true velocity, and what
    guidance adds."""

    true_share: float
    folded: bool
    bf16: bool
    from_data: bool = False


def student_loss(
    network: Transformer, teacher: Teacher, weights: Tensor, batch: Batch, lesson: Lesson, step: int
) -> Tensor:
    """Mean squared error (B,) of the student's velocity at random noise levels, channels weighed."""
    data, generator = batch["latents"], random_of(step, STREAM)
    sigma = sigmas_of(len(data), generator).to(data.device)
    noise = torch.randn(data.shape, generator=generator).to(data.device)
    at = sigma[:, None, None]
    latents = at * noise + (1 - at) * data
    target = noise - data
    if lesson.from_data:
        with torch.no_grad():
            target = target + teacher.push(latents, sigma, batch)
    elif lesson.true_share < 1:
        with torch.no_grad():
            asked = teacher.velocity(latents, sigma, batch)
        target = lesson.true_share * target + (1 - lesson.true_share) * asked
    seen = fold(batch) if lesson.folded else batch
    made = velocity_of(network, seen, 1.0, lesson.bf16)(latents, sigma)
    return (weights * (made - target).square()).mean((1, 2))


def new_student(config: TransformerConfig, start: Path | None, say: Say) -> Transformer:
    """A network of a student's sizes, seeded; ``start``: a run whose weights it takes where shapes agree."""
    torch.manual_seed(0)
    student = Transformer(config)
    student.initialise()
    if start is not None:
        taken = take_over(student, load_network(start).state_dict())
        say(f"{taken} of {len(student.state_dict())} tensors from {start}")
    return student


def take_over(network: nn.Module, weights: Mapping[str, Tensor]) -> int:
    """Copy the weights whose names and shapes agree; returns how many."""
    own = network.state_dict()
    same = {k: v for k, v in weights.items() if k in own and own[k].shape == v.shape}
    network.load_state_dict({**own, **same})
    return len(same)


def teach(
    student: Transformer, teacher: NetworkTeacher, source: Source, effort: Effort, lesson: Lesson, out: Path
) -> Average:
    """Train ``student``, or go on with it where the checkpoint in ``out`` stands; returns the averaged
    weights."""
    network = student
    if effort.compiled:
        teacher.compile()
        network = compiled(student)
    check = [source.held_out(i) for i in range(2)]

    def loss_fn(step: int) -> dict[str, Tensor]:
        batch = source.train(step)
        loss = student_loss(network, teacher, source.weights, batch, lesson, step)
        return {"loss": loss.mean()}

    def validate(_: nn.Module) -> dict[str, float]:
        with torch.no_grad():
            found = [
                student_loss(student, teacher, source.weights, batch, lesson, -1 - i).mean()
                for i, batch in enumerate(check)
            ]
        return {"val_loss": float(torch.stack(found).mean())}

    return train(student, loss_fn, out, effort.loop(), validate)


def measured(contestants: list[Contestant], trial: Trial, plain: bool, say: Say) -> list[Row]:
    """``compare`` with parameters, and with velocity errors where networks have ``plain`` velocities."""
    rows = compare(contestants, trial, say)
    for row, contestant in zip(rows, contestants, strict=True):
        row["parameters_m"] = sum(p.numel() for p in contestant.network.parameters()) / 1e6
        guided_within = row is not rows[0] and not plain
        row["velocity_error"] = None if guided_within else velocity_error(contestant.network, trial)
    return rows


@dataclass(frozen=True)
class StudentPlan:
    """A run of ``edgefoley distill student``. ``negatives``: share of the examples with a negative prompt,
    which joins their words where the teacher is guided; ``steps_shown`` and ``guidance_shown``: how the
    sounds behind its table are made."""

    out: Path
    teacher: Path
    config: TransformerConfig
    true_share: float = 0.2
    start: Path | None = None
    steps_shown: int = 12
    guidance_shown: float = 2.5
    from_data: bool = False
    negatives: float = 0.0


def distill_student(
    plan: StudentPlan, teacher: NetworkTeacher, source: Source, effort: Effort, say: Say
) -> str:
    """Run or resume; writes weights, sizes, origin and table into ``plan.out`` and returns the table.

    Raises UsageError when the folder is another run's or the examples do not fit the teacher.
    """
    source.check(teacher.config)
    guided = teacher.guided
    folded = guided and plan.negatives > 0
    facts = {"guidance": teacher.guidance, "true_share": plan.true_share, **described(effort)}
    if guided:
        facts |= {"sync_guidance": teacher.sync_guidance, "negatives": plan.negatives}
    if plan.from_data:
        facts |= {"from_data": True}
    started = plan.start and str(plan.start)
    claim(
        plan.out,
        {"what": "distill student", "teacher": str(plan.teacher), "start": started, **facts}
        | {"config": asdict(plan.config)},
    )
    student = new_student(plan.config, plan.start, say).to(effort.device)
    if teacher.config.timbre_components:  # the source shows timbres as the teacher sees them
        student.timbre_in.load_state_dict(teacher.network.timbre_in.state_dict())
    trial = trial_of(source, effort)
    plain = teacher.network  # not compiled: the table sees shapes that training does not
    guidance = 1.0 if guided else plan.guidance_shown
    shown = teacher.guidance if guided else plan.guidance_shown
    reference = Contestant("teacher", plain, plan.steps_shown, shown)

    def rows(name: str) -> list[Row]:
        small = Contestant(name, student, plan.steps_shown, guidance, folded)
        return measured([reference, small], trial, not guided, say)

    before = kept(plan.out / BEFORE, lambda: rows("student before"))
    lesson = Lesson(plan.true_share, folded, effort.bf16, plan.from_data)
    average = teach(student, teacher, source, effort, lesson, plan.out)
    origin = teacher.origin.then("distill student", teacher=str(plan.teacher), **facts)
    finish(plan.out, student, average.state, origin)
    text = write_table(plan.out, [*before, rows("student")[1]], trial, teacher=str(plan.teacher), **facts)
    mark_done(plan.out, average, effort.loop())
    return text
