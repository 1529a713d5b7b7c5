"""The DAC-VAE: exact chunks, folded weights, strict loading, counted work."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.flop_counter import FlopCounterMode

from edgefoley.models.dac import (
    DacConfig,
    DacDecoder,
    DacEncoder,
    decode_in_chunks,
    fold_weight_norm,
    published_shapes,
    unused_keys,
)
from edgefoley.timeline import chunks
from tests.parity import rule

TINY = DacConfig(encoder_dim=2, decoder_dim=32, latent_dim=6)
OTHER = [
    DacConfig(decoder_dim=8, latent_dim=3, encoder_rates=(2, 3), decoder_rates=(3, 2)),
    DacConfig(decoder_dim=8, latent_dim=3, encoder_rates=(7,), decoder_rates=(7,)),
    DacConfig(decoder_dim=8, latent_dim=3, encoder_rates=(2, 2, 2), decoder_rates=(2, 2, 2)),
]


def build(config: DacConfig, kind: type[nn.Module] = DacDecoder) -> nn.Module:
    """Published names and rule, so that the decoder neither explodes nor vanishes; float64 to tell rounding
    from leaks."""
    module = kind(config).eval()
    state = {key: rule.weight(key, 0, shape) for key, shape in published_shapes(module).items()}
    module.load_state_dict(fold_weight_norm(state))
    return module.double()


def latents(config: DacConfig, count: int) -> torch.Tensor:
    return rule.inputs("latents", 0, 1, config.latent_dim, count).double()


def test_published_sizes() -> None:
    """The published file: 371,589,058 numbers in 298 tensors, of which the decoder is a fifth."""
    with torch.device("meta"):
        decoder, encoder = (published_shapes(part()) for part in (DacDecoder, DacEncoder))
    assert sum(map(math.prod, decoder.values())) == 75_482_178 + 16_512
    assert sum(map(math.prod, encoder.values())) == 296_057_344 + 33_024
    assert len(decoder | encoder) == 298
    assert decoder["decoder.model.1.block.1.weight_g"] == (2048, 1, 1)
    assert encoder["encoder.block.7.weight_v"] == (128, 4096, 3)


@pytest.mark.parametrize("config", [TINY, *OTHER], ids=lambda config: str(config.decoder_rates))
def test_context_is_what_the_samples_of_one_latent_depend_on(config: DacConfig) -> None:
    """By the gradient: exactly the latents up to the context on the wider side reach these samples."""
    count = 2 * config.context_latents + 9
    middle, x = count // 2, latents(config, count).requires_grad_()
    samples = build(config)(x)[..., middle * config.hop : (middle + 1) * config.hop]
    (gradient,) = torch.autograd.grad((samples * torch.randn_like(samples)).sum(), x)
    reached = gradient.abs().amax((0, 1)).nonzero().flatten()
    assert max(middle - int(reached[0]), int(reached[-1]) - middle) == config.context_latents


@pytest.mark.parametrize("size", [1, 7, 16, 50])
def test_chunks_equal_the_whole(size: int) -> None:
    decoder, x = build(TINY), latents(TINY, 37)
    with torch.no_grad():
        whole, parts = decoder(x), list(decode_in_chunks(decoder, x, size))
        rounded = torch.cat(list(decode_in_chunks(decoder.float(), x.float(), size)), -1)
    joined = torch.cat(parts, -1)
    assert joined.shape == whole.shape == (1, 1, 37 * 960)
    assert len(parts) == math.ceil(37 / size)
    assert rule.relative_error(joined.numpy(), whole.numpy()) < 1e-13
    assert rule.relative_error(rounded.numpy(), whole.numpy()) < 1e-5


def test_less_context_is_not_exact() -> None:
    decoder, x = build(TINY), latents(TINY, 37)
    with torch.no_grad():
        whole, parts = decoder(x), []
        for start, stop, first, last in chunks(37, 7, TINY.context_latents - 1):
            parts.append(decoder(x[..., first:last])[..., (start - first) * 960 : (stop - first) * 960])
    assert rule.relative_error(torch.cat(parts, -1).numpy(), whole.numpy()) > 1e-11


def test_chunks_need_a_size() -> None:
    with pytest.raises(ValueError, match="at least one latent, got size 0"):
        next(decode_in_chunks(build(TINY), latents(TINY, 4), 0))


def test_work_is_what_torch_counts() -> None:
    decoder, counter = build(TINY), FlopCounterMode(display=False)
    with counter, torch.no_grad():
        decoder(latents(TINY, 50))
    assert counter.get_total_flops() == TINY.decoder_flops_per_second
    assert DacConfig().decoder_flops_per_second == pytest.approx(115.47e9, abs=5e6)


@pytest.mark.parametrize("conv", [nn.Conv1d(3, 5, 7), nn.ConvTranspose1d(6, 4, 5)])
def test_folding_is_torchs_weight_norm(conv: nn.Module) -> None:
    normed = weight_norm(conv)
    g, v = (getattr(normed.parametrizations.weight, name) for name in ("original0", "original1"))
    nn.init.uniform_(g, 0.1, 2.0)
    state = {"a.weight_g": g, "a.weight_v": v, "a.bias": normed.bias, "b.weight": torch.ones(2)}
    folded = fold_weight_norm(state)
    assert set(folded) == {"a.weight", "a.bias", "b.weight"}
    torch.testing.assert_close(folded["a.weight"], normed.weight, rtol=1e-6, atol=0)


@pytest.mark.parametrize("missing", ["weight_g", "weight_v"])
def test_half_a_pair_is_refused(missing: str) -> None:
    state = {"a.weight_g": torch.ones(2, 1, 1), "a.weight_v": torch.ones(2, 3, 1)}
    del state[f"a.{missing}"]
    with pytest.raises(ValueError, match=f"a has a weight_. without a {missing}"):
        fold_weight_norm(state)


def test_loading_is_strict() -> None:
    with torch.device("meta"):
        whole = published_shapes(DacDecoder(TINY)) | published_shapes(DacEncoder(TINY))
    published = {key: torch.ones(shape) for key, shape in whole.items()}
    for part, kind in (("decoder", DacDecoder), ("encoder", DacEncoder)):
        dropped = set(unused_keys(published, part))
        kept = fold_weight_norm({k: v for k, v in published.items() if k not in dropped})
        kind(TINY).load_state_dict(kept)
        with pytest.raises(RuntimeError, match="Unexpected key"):
            kind(TINY).load_state_dict(fold_weight_norm(published))
        del kept[f"{'post_' * (part == 'decoder')}quant_conv.bias"]
        with pytest.raises(RuntimeError, match="Missing key"):
            kind(TINY).load_state_dict(kept)


def test_encoder_keeps_the_length_and_bounds_the_variance() -> None:
    encoder = build(TINY, DacEncoder)
    wave = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (2, 1, 5 * 960)))
    nn.init.constant_(encoder.quant_conv.bias[TINY.latent_dim :], 1e4)
    with torch.no_grad():
        mean, log_variance = encoder(wave)
        assert mean.shape == log_variance.shape == (2, TINY.latent_dim, 5)
        assert (log_variance == 20).all() and (mean.abs() < 1e3).all()
        nn.init.constant_(encoder.quant_conv.bias[TINY.latent_dim :], -1e4)
        assert (encoder(wave)[1] == -30).all()


@pytest.mark.parametrize("shape", [(1, 1, 961), (1, 2, 960), (1, 960)])
def test_encoder_refuses_other_waves(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"mono waves \(B, 1, n \* 960\)"):
        DacEncoder(TINY)(torch.zeros(shape))


def test_wave_stays_within_full_scale() -> None:
    with torch.no_grad():
        wave = build(TINY)(1e4 * latents(TINY, 3))
    assert wave.abs().max() <= 1 and wave.abs().max() > 0.5


def test_rates_must_fit() -> None:
    with pytest.raises(ValueError, match="the same product"):
        DacConfig(encoder_rates=(2, 3))
    with pytest.raises(ValueError, match="decoder_dim 48"):
        DacConfig(decoder_dim=48)
