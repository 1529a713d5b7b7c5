"""Distilling steps, on networks and data small enough to be known: walks, own states, folding, resuming."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from edgefoley.errors import UsageError  # noqa: E402
from edgefoley.train import distill_steps as module  # noqa: E402
from edgefoley.train.critic import Critic, critic_loss, passing_loss  # noqa: E402
from edgefoley.train.distill_run import Effort  # noqa: E402
from edgefoley.train.distill_steps import StepsPlan, distill_steps, jump_loss, own_end  # noqa: E402
from edgefoley.train.teachers import (  # noqa: E402
    NetworkTeacher,
    Origin,
    load_network,
    read_origin,
    save_network,
)
from edgefoley.train.trajectories import StoredWalks, Walks, walk, write  # noqa: E402
from edgefoley.train.unwanted import fold, without_negatives  # noqa: E402
from tests.train.tiny_lessons import TINY, MadeUp, network  # noqa: E402

RATE = 0.7
SMALL = replace(TINY, hidden_size=16, num_heads=2, depth_triple_blocks=1, depth_single_blocks=1)


class Linear:
    """A teacher with the velocity RATE * x: a step from s to s' multiplies by 1 - RATE (s - s')."""

    config, origin = TINY, Origin()

    def velocity(self, latents, sigma, batch):
        return RATE * latents


def test_walks_of_a_linear_teacher_are_powers(tmp_path: Path) -> None:
    walks, source = Walks(tmp_path, 4, 12), MadeUp()
    batch = source.train(5)
    states = walk(walks, Linear(), batch, 5)
    assert states.shape == (5, *batch["latents"].shape)
    for k in range(5):
        expected = (1 - RATE / 12) ** (3 * k) * states[0]
        assert torch.allclose(states[k], expected, atol=1e-5)


def test_the_right_jumps_have_no_loss_and_end_where_the_teacher_ends(tmp_path: Path) -> None:
    source = MadeUp()
    states = walk(Walks(tmp_path, 3, 12), Linear(), source.train(0), 0)
    factor = (1 - RATE / 12) ** 4
    right = lambda x, sigma: (1 - factor) * 3 * x  # noqa: E731
    loss = jump_loss(right, source.weights, states, torch.Generator().manual_seed(1))
    assert loss.shape == (3,) and float(loss.max()) < 1e-9
    assert torch.allclose(own_end(right, states[0], 3), states[-1], atol=1e-5)
    # The loss is the error of the velocity, at the level that was drawn for each example.
    level = torch.randint(0, 3, (3,), generator=torch.Generator().manual_seed(1))
    off = lambda x, sigma: right(x, sigma) + sigma[:, None, None]  # noqa: E731
    loss = jump_loss(off, source.weights, states, torch.Generator().manual_seed(1))
    assert torch.allclose(loss, torch.tensor([1, 2 / 3, 1 / 3])[level] ** 2, atol=1e-5)
    weights = torch.arange(6.0)[:, None]
    again = jump_loss(off, weights, states, torch.Generator().manual_seed(1))
    assert torch.allclose(again, 2.5 * loss, atol=1e-4), "channels are weighed"


@pytest.mark.parametrize("levels", [1, 2, 3, 7])
def test_the_own_end_has_the_gradient_of_the_last_jump(levels: int) -> None:
    scale, noise = torch.ones((), requires_grad=True), torch.randn(2, 3, 4)
    end = own_end(lambda x, sigma: scale * x, noise, levels)
    assert torch.allclose(end, (1 - 1 / levels) ** levels * noise, atol=1e-5)
    slope = torch.autograd.grad(end.sum(), scale)[0]
    assert torch.allclose(slope, -((1 - 1 / levels) ** (levels - 1)) * noise.sum() / levels, atol=1e-5)


def test_the_critic_learns_whose_latents_they_are_and_moves_the_student_alone() -> None:
    torch.manual_seed(0)
    source, critic = MadeUp(), Critic(TINY, 16)
    batch = source.train(0)
    true = torch.randn(3, 6, 20)
    optimiser = torch.optim.Adam(critic.parameters(), 3e-3)
    for step in range(60):
        noise = torch.randn(true.shape, generator=torch.Generator().manual_seed(step))
        true, made = torch.randn(3, 6, 20), 0.3 * torch.randn(3, 6, 20)  # too faint
        loss = critic_loss(critic, made, true, noise, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert critic(true, batch).shape == (3, 5)
    assert critic(true, batch).mean() > critic(made, batch).mean() + 0.3
    before = [p.clone() for p in critic.parameters()]
    critic.zero_grad()
    gain = torch.ones((), requires_grad=True)
    passing_loss(critic, gain * made, batch).backward()
    assert gain.grad < 0, "louder passes for the true one"
    assert all(p.grad is None for p in critic.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, critic.parameters(), strict=True))
    gain = torch.ones((), requires_grad=True)
    critic_loss(critic, gain * made, true, noise, batch).backward()
    assert gain.grad is None, "and the critic's own loss does not move the student"


def test_the_critic_sees_events_where_they_are() -> None:
    torch.manual_seed(0)
    critic, batch = Critic(TINY, 16), MadeUp(length=40).train(0)
    batch["sync"] = torch.zeros_like(batch["sync"])
    latents = torch.randn(3, 6, 40)
    quiet = critic(latents, batch)
    batch["sync"][:, 5, 1] = 1.0  # latent 11
    batch["flags"][0, 1] = 0.0
    change = (critic(latents, batch) - quiet).abs()
    assert not change[0].any() and change[1, 2:4].min() > 0 and not change[1, 6:].any()
    foreign = replace(TINY, sync_dim=768, sync_segment=8)
    wide = {**batch, "sync": torch.randn(3, 8, 768)}
    assert Critic(foreign, 16)(latents, wide).shape == (3, 10), "other models' features are left out"


def test_shards_resume_and_refuse_other_lessons(tmp_path: Path) -> None:
    walks, source, teacher = Walks(tmp_path / "walks", 2, 4), MadeUp(), Linear()
    walking = write(walks, teacher, source.train, 3)
    next(walking)
    assert [p.name for p in walks.folder.iterdir()] == ["00000.safetensors"]
    first = walks.path(0).stat().st_mtime_ns
    with pytest.raises(UsageError, match="2 of 3 trajectories are missing"):
        StoredWalks(walks, source.train, 3)
    assert list(write(walks, teacher, source.train, 3)) == [0, 1, 2]
    assert walks.path(0).stat().st_mtime_ns == first, "what is there is not made again"
    stored = StoredWalks(walks, source.train, 3)
    assert sorted(stored.shard(step) for step in range(3)) == [0, 1, 2], "an epoch sees every shard"
    assert [stored.shard(s) for s in range(30)] != 10 * [stored.shard(s) for s in range(3)]
    batch, states = stored(4)
    expected = walk(walks, teacher, batch, stored.shard(4))
    assert torch.equal(states[0], expected[0]), "the noise was rounded before the walk"
    assert torch.allclose(states, expected, atol=2e-3)
    with pytest.raises(UsageError, match="made of other lessons"):
        StoredWalks(walks, MadeUp(length=22).train, 3)(0)
    with pytest.raises(UsageError, match="steps 4/2"):
        StoredWalks(replace(walks, levels=4), source.train, 3)(0)
    with pytest.raises(UsageError, match="multiple"):
        Walks(tmp_path, 4, 10)


def test_negatives_stand_behind_the_words_with_the_opposite_sign() -> None:
    batch = MadeUp().train(0)
    seen = fold(batch)
    assert seen["text"].shape[1] == 6 and seen["mask"].sum(1).tolist() == [5, 4, 6]
    assert torch.equal(seen["text"][0, :3], batch["text"][0, :3])
    assert torch.equal(seen["text"][0, 3:5], -batch["negative"][0])
    model = network()
    plain = fold(without_negatives(batch))
    teacher = NetworkTeacher(model, Origin(), bf16=False)
    x, sigma = batch["latents"], torch.full((3,), 0.5)
    one = teacher.velocity(x, sigma, plain)
    assert torch.allclose(one, teacher.velocity(x, sigma, batch), atol=1e-5), "without one nothing changes"
    with_negative = teacher.velocity(x, sigma, seen)
    changed = (with_negative - one).abs().amax((1, 2))
    assert changed[0] > 1e-3 and changed[2] > 1e-3 and changed[1] < 1e-5


def run(out: Path, teacher: Path, steps: int, minutes: float = 0.0, batches: int = 3, **changed) -> str:
    effort = Effort(steps=steps, rate=3e-3, minutes=minutes, bf16=False, check=1)
    own = NetworkTeacher(load_network(teacher), read_origin(teacher), 2.0, bf16=False)
    plan = StepsPlan(out, teacher, 2, 4, batches=batches, **changed)
    return distill_steps(plan, own, MadeUp(SMALL, count=8, length=8), effort, lambda _: None)


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    model = network(SMALL)
    for value in model.parameters():  # smooth enough to be learnt in seconds
        value.mul_(0.6 if value.ndim > 1 else 1.0)
    save_network(tmp_path / "teacher", model, model.state_dict(), Origin("Some licence", ("a note",)))
    return tmp_path / "teacher"


def test_a_run_learns_and_says_so(tmp_path: Path, teacher: Path) -> None:
    text = run(tmp_path, teacher, 120, batches=40, negatives=0.5, critic=0.02)
    assert "student, guided again" in text
    table = json.loads((tmp_path / "before_after.json").read_text())
    rows = {row["name"]: row for row in table["rows"]}
    assert rows["teacher"]["latent_rms"] == 0 and rows["teacher"]["unwanted"] == pytest.approx(1, abs=1e-5)
    before, after = rows["teacher, few steps, unguided"], rows["student"]
    assert after["latent_rms"] < 0.95 * before["latent_rms"]
    assert after["log_mel_db"] < before["log_mel_db"]
    assert after["unwanted"] > 0.2 and before["unwanted"] == 0, "negatives act in a single pass"
    assert 0.2 * rows["teacher"]["gflop"] < after["gflop"] < 0.4 * rows["teacher"]["gflop"]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[0]["settings"]["what"] == "distill steps" and any("end_rms" in line for line in lines)


def test_a_run_in_parts_is_the_run_in_one_go(tmp_path: Path, teacher: Path) -> None:
    run(tmp_path / "whole", teacher, 4)
    for _ in range(3):
        run(tmp_path / "parts", teacher, 4, minutes=1e-9)  # the clock stops it after every step
        assert not (tmp_path / "parts" / "done.json").exists()
    run(tmp_path / "parts", teacher, 4)
    assert (tmp_path / "parts" / "done.json").exists()
    one, two = (load_network(tmp_path / name).state_dict() for name in ("whole", "parts"))
    start = load_network(teacher).state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert any(not torch.equal(one[key], start[key]) for key in one)


def test_the_licence_goes_along_and_a_folder_is_one_run(tmp_path: Path, teacher: Path) -> None:
    run(tmp_path / "out", teacher, 1)
    origin = read_origin(tmp_path / "out")
    assert origin.licence == "Some licence" and origin.notes == ("a note",)
    assert origin.history[-1]["made_by"] == "distill steps" and origin.history[-1]["guidance"] == 2.0
    with pytest.raises(UsageError, match=r"own 0\.5 there, 0\.25 now"):
        run(tmp_path / "out", teacher, 1, own=0.25)
    (tmp_path / "out" / "origin.json").write_text("{}")
    with pytest.raises(UsageError, match="licence is not known"):
        read_origin(tmp_path / "out")


def test_a_smaller_start_can_be_given(tmp_path: Path, teacher: Path) -> None:
    small = network(replace(SMALL, mlp_ratio=1.0), seed=3)
    save_network(tmp_path / "small", small, small.state_dict(), Origin())
    text = run(tmp_path / "out", teacher, 2, start=tmp_path / "small")
    assert "student before" in text
    assert load_network(tmp_path / "out").config.mlp_ratio == 1.0


def test_without_own_walks_nothing_is_judged(monkeypatch, tmp_path: Path, teacher: Path) -> None:
    monkeypatch.setattr(module, "own_end", lambda *_: pytest.fail("it walked"))
    run(tmp_path / "out", teacher, 2, own=0.0)
