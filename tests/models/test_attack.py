"""Where attacks are found, and what their gates close."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgefoley.models.attack import AttackConfig, attacks, gate, impulses  # noqa: E402

CONFIG = AttackConfig()
HOP, COUNT = 960, 50


def found(wave: np.ndarray) -> torch.Tensor:
    return attacks(torch.tensor(wave[None], dtype=torch.float32), HOP, CONFIG)


@pytest.mark.parametrize("at", [24_000, 24_007, 24_500, 24_959])
def test_a_click_is_found_in_its_latent_and_the_gate_opens_just_before_it(at: int) -> None:
    wave = np.zeros(HOP * COUNT)
    wave[at] = 0.9
    rows = found(wave)
    assert torch.equal(rows[0, :, 0].nonzero().ravel(), torch.tensor([at // HOP]))
    gain = gate(rows, HOP, CONFIG)[0].numpy()
    assert gain.shape == (HOP * COUNT,) and gain.max() <= 1
    assert gain[at - 32 : at - 16].max() < 1 and gain[at:].min() > 0.9
    shut = gain[at - 900 : at - 48]
    assert 20 * np.log10(shut.max()) < -40
    assert gain[: at - CONFIG.step * (CONFIG.reach + 1)].min() > 0.999
    click = impulses(rows, HOP, CONFIG)[0].numpy()
    assert abs(int(click.argmax()) - at) <= CONFIG.step and click.sum() == pytest.approx(1, abs=1e-3)


def test_steady_sound_has_no_attack() -> None:
    instants = np.arange(HOP * COUNT) / 48_000
    rng = np.random.default_rng(0)
    pulses = (np.arange(HOP * COUNT) % 600 == 0) * 0.8  # 80 a second
    for wave in (0.5 * np.sin(2 * np.pi * 100 * instants), 0.1 * rng.standard_normal(len(instants)), pulses):
        rows = found(wave)[0, 2:]  # but for its beginning
        assert rows.abs().max() == 0
        assert gate(rows[None], HOP, CONFIG).min() == 1


def test_silence_has_no_attack_and_small_errors_close_nothing() -> None:
    assert found(np.zeros(HOP * 4)).abs().max() == 0
    noise = 0.03 * CONFIG.scale * torch.randn(1, 40, 3, generator=torch.Generator().manual_seed(0))
    assert gate(noise, HOP, CONFIG).min() > 0.97
