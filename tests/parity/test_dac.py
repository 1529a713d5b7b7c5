"""The DAC-VAE against outputs of the reference implementation (weights made from names; see rule.py)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgefoley.models.dac import DacConfig, DacDecoder, DacEncoder, fold_weight_norm, published_shapes
from tests.parity import rule


def build(kind: type[DacDecoder] | type[DacEncoder], config: DacConfig, seed: int) -> torch.nn.Module:
    """The weights are made under their published names, before they are folded."""
    with torch.device("meta"):
        module = kind(config).eval()
    made = {key: rule.weight(key, seed, shape) for key, shape in published_shapes(module).items()}
    module.load_state_dict(fold_weight_norm(made), assign=True)
    return module


@pytest.mark.parametrize("name", ["dac_vae_decoder", "dac_vae_decoder_tiny"])
def test_wave_equals_reference(name: str) -> None:
    stored, meta = rule.reference(name)
    sizes = {key: meta[key] for key in ("decoder_dim", "latent_dim") if key in meta}
    config, seed = DacConfig(**sizes), meta["seed"]
    latents = rule.inputs("latents", seed, meta.get("batch", 1), config.latent_dim, meta["num_latents"])
    with torch.no_grad():
        wave = build(DacDecoder, config, seed)(latents)
    assert wave.shape == stored["waveform"].shape
    assert rule.relative_error(wave.numpy(), stored["waveform"]) < 1e-5


def test_mean_and_log_variance_equal_reference() -> None:
    stored, meta = rule.reference("dac_vae_encoder_tiny")
    config = DacConfig(encoder_dim=meta["encoder_dim"], latent_dim=meta["latent_dim"])
    wave = 0.3 * rule.inputs("waveform", meta["seed"], 1, 1, meta["num_samples"])
    with torch.no_grad():
        made = build(DacEncoder, config, meta["seed"])(wave)
    for part, wanted in zip(made, (stored["mean"], stored["logvar"]), strict=True):
        assert part.shape == wanted.shape
        assert rule.relative_error(part.numpy(), wanted) < 1e-5


def test_stored_waves_are_not_silent() -> None:
    """Else a small error would say little."""
    for name in ("dac_vae_decoder", "dac_vae_decoder_tiny"):
        assert np.abs(rule.reference(name)[0]["waveform"]).std() > 1e-3
