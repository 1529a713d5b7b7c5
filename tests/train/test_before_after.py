"""The figures of the table, each on a case whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")
pytest.importorskip("safetensors")

from edgefoley.events import draw_curve  # noqa: E402
from edgefoley.train.before_after import (  # noqa: E402
    Contestant,
    Trial,
    _latent_figures,
    as_text,
    compare,
    curve_events,
    gflop,
    onset_figures,
    unwanted_agreement,
    velocity_error,
)
from tests.train.tiny_lessons import MadeUp, network  # noqa: E402


def clicks(times: list[float], seconds: float = 4.0) -> np.ndarray:
    """A decaying noise at each time over faint noise, 48 kHz."""
    rng = np.random.default_rng(0)
    wave = 1e-3 * rng.standard_normal(int(48_000 * seconds))
    for time in times:
        at = int(48_000 * time)
        burst = rng.standard_normal(4800) * np.exp(-np.arange(4800) / 900)
        wave[at : at + 4800] += 0.5 * burst
    return wave.astype(np.float32)


def test_events_are_read_from_the_curve_that_was_drawn() -> None:
    times, heights = np.array([0.5, 1.3, 2.2]), np.array([1.0, 0.1, 0.8])
    curve = torch.from_numpy(draw_curve(times, heights, np.ones(3), np.zeros(200, np.float32), 100))
    found = curve_events(curve, True)
    assert np.allclose(found, [0.5, 2.2], atol=0.005), "what the encoder is not sure of does not count"
    assert curve_events(curve, False) is None and curve_events(torch.zeros(100, 4), True) is None
    assert curve_events(torch.zeros(8, 768), True) is None, "other models have no event curve"


def test_onset_figures() -> None:
    early, late = [0.5, 1.5], [1.0, 2.0, 3.0]
    waves, events = [clicks(early), clicks(late), clicks([])], [np.array(early), np.array(late), None]
    hit, chance, same = onset_figures(waves, waves, events)
    assert hit == [1.0, 1.0] and same == [1.0, 1.0]
    assert chance == [0.0, 0.0], "each is held against the other's events"
    hit, _, same = onset_figures([waves[1], waves[0], waves[2]], waves, events)
    assert hit == [0.0, 0.0] and same == [0.0, 0.0]


def test_unwanted_agreement() -> None:
    plain, change = torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    reference = plain + change
    assert torch.allclose(unwanted_agreement(plain + 0.3 * change, plain, reference, plain), torch.ones(2))
    assert torch.allclose(unwanted_agreement(plain - change, plain, reference, plain), -torch.ones(2))
    assert torch.equal(unwanted_agreement(plain, plain, reference, plain), torch.zeros(2))


def test_arithmetic_grows_with_steps_and_passes() -> None:
    model, batch = network(), MadeUp().train(0)
    cost = {
        (steps, guidance): gflop(Contestant("", model, steps, guidance), batch)
        for steps, guidance in ((1, 1.0), (2, 1.0), (3, 1.0), (2, 2.0))
    }
    step = cost[2, 1.0] - cost[1, 1.0]
    assert cost[3, 1.0] == pytest.approx(cost[2, 1.0] + step)
    assert 1.9 < cost[2, 2.0] / cost[2, 1.0] <= 2.0
    # At least the products with every weight of the blocks, for each of the 10 tokens.
    weights = sum(p.numel() for block in model.single_blocks for p in block.parameters() if p.ndim > 1)
    assert step > 2 * 10 * weights / 1e9
    folded = gflop(Contestant("", model, 2, folded=True), batch)
    assert cost[2, 1.0] < folded < 1.1 * cost[2, 1.0], "negatives among the words cost two tokens"


def test_a_network_is_no_different_from_itself() -> None:
    source = MadeUp()
    trial = Trial([source.held_out(0), source.held_out(1)], source.weights, source.decode, bf16=False)
    model, other = network(), network(seed=1)
    first, twin, stranger = compare(
        [Contestant("a", model, 3, 1.5), Contestant("b", model, 3, 1.5), Contestant("c", other, 3)],
        trial,
        lambda _: None,
    )
    for name in ("latent_rms", "log_mel_db"):
        assert first[name] == twin[name] == 0 < stranger[name]
    assert twin["detail"] == 1 and twin["unwanted"] == pytest.approx(1, abs=1e-5)
    assert stranger["unwanted"] == 0, "a single pass without folded negatives does not know them"
    text = as_text([first, {**stranger, "log_mel_db": None}])
    lines = text.splitlines()
    assert len({len(line) for line in lines}) == 1 and len(lines) == 3
    assert "velocity_error" not in text and " - " in lines[2]


def test_detail_sees_blur_and_roughness() -> None:
    sharp = [torch.randn(2, 3, 40, generator=torch.Generator().manual_seed(0))]
    blurred = [torch.nn.functional.avg_pool1d(sharp[0], 3, 1, 1)]
    weights = torch.ones(3, 1)
    assert _latent_figures(blurred, sharp, weights)["detail"] < 0.6
    assert _latent_figures([2 * sharp[0]], sharp, weights)["detail"] == pytest.approx(2)
    error = float((blurred[0] - sharp[0]).square().mean()) ** 0.5
    assert _latent_figures(blurred, sharp, weights)["latent_rms"] == pytest.approx(error)


def test_the_velocity_error_of_the_truth_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    source = MadeUp()
    trial = Trial([source.held_out(0)], source.weights, bf16=False)

    def exact(_, batch, guidance, bf16):
        def velocity(latents, sigma):
            at = sigma[:, None, None]
            return (latents - (1 - at) * batch["latents"]) / at - batch["latents"]

        return velocity

    monkeypatch.setattr("edgefoley.train.before_after.velocity_of", exact)
    assert velocity_error(network(), trial) == pytest.approx(0, abs=1e-8)
