"""The training loop: a killed run resumes to exactly the weights of an uninterrupted one."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from edgefoley.train.loop import Ahead, Average, LoopConfig, learning_rate, mark_done, train  # noqa: E402
from edgefoley.train.muon import MuonAdamW  # noqa: E402


def run(folder: Path, stops: tuple[int, ...], muon: bool = False) -> Average:
    """Fit lines in as many calls as ``stops``; each call builds everything anew, as a new process would."""
    for steps in stops:
        torch.manual_seed(1)
        model = torch.nn.Linear(3, 9 if muon else 1)
        rate = 0.6 if muon else 0.05  # for steps of the same size
        config = LoopConfig(steps=40, rate=rate, warmup=5, average=0.9, report=10, save=10, muon=muon)

        def loss(step: int, model: torch.nn.Linear = model, steps: int = steps) -> dict[str, torch.Tensor]:
            if step >= steps:
                raise KeyboardInterrupt
            x = torch.randn(8, 3)
            return {"loss": (model(x) - x.sum(1, keepdim=True)).square().mean()}

        try:
            average = train(model, loss, folder, config)
        except KeyboardInterrupt:
            continue
    return average


@pytest.mark.parametrize("muon", [False, True])
def test_resumed_run_equals_uninterrupted_one(tmp_path: Path, muon: bool) -> None:
    whole = run(tmp_path / "whole", (40,), muon)
    killed = run(tmp_path / "killed", (17, 33, 40), muon)
    for key, value in whole.state.items():
        assert torch.equal(value, killed.state[key])
    assert not list((tmp_path / "killed").glob("*.part"))
    weights = torch.load(tmp_path / "whole" / "last.pt", weights_only=True)["module"]["weight"]
    assert torch.allclose(weights, torch.ones(1, 3), atol=0.3), "it has learnt the sum"


def test_muon_moves_kernels_in_all_directions_alike_and_heads_as_adamw() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(4, 16, 3), torch.nn.Flatten(), torch.nn.Linear(16, 2))
    other = torch.nn.Linear(16, 2)
    other.load_state_dict(model[2].state_dict())
    before = model[0].weight.detach().clone()
    for layer in (model[0], model[2]):
        for p in layer.parameters():
            p.grad = torch.randn(p.shape) * torch.logspace(-2, 1, len(p)).reshape(-1, *[1] * (p.ndim - 1))
    for own, p in zip(other.parameters(), model[2].parameters(), strict=True):
        own.grad = p.grad
    grads = torch.linalg.svdvals(model[0].weight.grad.flatten(1))
    MuonAdamW(model.parameters(), 0.01, 0.0).step()
    torch.optim.AdamW(other.parameters(), 0.01, betas=(0.9, 0.98), weight_decay=0.0).step()
    moved = (model[0].weight.detach() - before).flatten(1)
    sizes = torch.linalg.svdvals(moved)
    assert grads[0] / grads[-1] > 100
    assert sizes[0] / sizes[-1] < 5, "five steps of Newton and Schulz bring them near each other"
    assert moved.square().mean().sqrt() == pytest.approx(0.2 * 0.01, rel=0.2), "AdamW's usual step"
    for own, p in zip(other.parameters(), model[2].parameters(), strict=True):
        assert torch.allclose(own, p, atol=1e-7)


def test_only_a_run_that_reached_its_last_step_is_done(tmp_path: Path) -> None:
    def call(steps: int, minutes: float) -> bool:
        model = torch.nn.Linear(3, 1)
        config = LoopConfig(steps=steps, rate=0.05, minutes=minutes)
        average = train(model, lambda _: {"loss": model(torch.ones(1, 3)).square().mean()}, tmp_path, config)
        mark_done(tmp_path, average, config)
        return (tmp_path / "done.json").exists()

    assert not call(3, minutes=1e-9), "stopped by the clock after one step"
    assert call(3, minutes=0)
    assert call(3, minutes=0), "nothing left to do"
    assert not call(30, minutes=1e-9), "more steps were asked for"


def test_learning_rate_rises_and_falls_to_a_tenth() -> None:
    config = LoopConfig(steps=1000, rate=1.0, warmup=100)
    rates = [learning_rate(config, step) for step in range(1001)]
    assert rates[0] == 0.01 and max(rates) == rates[100] == 1.0 and abs(rates[-1] - 0.1) < 1e-9


def test_what_is_made_ahead_is_what_would_have_been_made() -> None:
    """From any step on, each value once; and an error comes out where its value is asked for."""
    made: list[int] = []

    def make(step: int) -> int:
        made.append(step)
        if step == 12:
            raise OSError("no such film")
        return step * step

    ahead = Ahead(make)
    assert [ahead(step) for step in range(7, 11)] == [49, 64, 81, 100]
    assert ahead(11) == 121 and made[:5] == [7, 8, 9, 10, 11]
    with pytest.raises(OSError, match="film"):
        ahead(12)
    assert ahead(3) == 9  # another run's place
