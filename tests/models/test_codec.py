"""The codec: lengths, the exported inverse transform against an independent one, exact chunked decoding."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgefoley.models.codec import Codec, CodecConfig, ExportDecoder  # noqa: E402

SMALL = CodecConfig(latent_dim=8, coarse_width=32, fine_width=24)


@pytest.fixture(scope="module")
def codec() -> Codec:
    torch.manual_seed(0)
    made = Codec(SMALL).eval()
    made.decoder.latent_mean.normal_()
    made.decoder.latent_std.uniform_(0.5, 2)
    return made


@pytest.mark.parametrize("count", [1, 2, 37])
def test_one_latent_is_960_samples(codec: Codec, count: int) -> None:
    with torch.no_grad():
        latents = codec.encode(torch.randn(2, 960 * count) * 0.1)
        assert latents.shape == (2, SMALL.latent_dim, count)
        assert codec.decode(latents).shape == (2, 1, 960 * count)


def test_exported_inverse_transform_equals_numpy(codec: Codec) -> None:
    """The transposed convolution in the graph against overlap-add of numpy's inverse FFT."""
    latents = torch.randn(1, SMALL.latent_dim, 12)
    with torch.no_grad():
        made = ExportDecoder(codec.decoder)(latents)[0, 0].numpy()
        raw = latents * codec.decoder.latent_std[:, None] + codec.decoder.latent_mean[:, None]
        real, imag = (part[0].numpy().astype(np.float64) for part in codec.decoder.spectrum(raw))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(960) / 960)
    frames = np.fft.irfft(real + 1j * imag, 960) * window * np.sqrt(960)
    wave = np.zeros(47 * 240 + 960)
    for i, frame in enumerate(frames):
        wave[i * 240 : i * 240 + 960] += frame
    assert np.abs(made - wave[360:-360] / 1.5).max() < 1e-5 * np.abs(wave).max()


def test_a_frame_that_keeps_its_spectrum_is_reproduced() -> None:
    """Analysis and synthesis windows with hop a quarter sum to a constant: a sine passes through unchanged."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(960) / 960)
    total = sum(np.roll(np.r_[hann**2, np.zeros(960)], 240 * k)[960 - 240 : 960] for k in range(4))
    assert np.allclose(total, 1.5)


def test_chunks_with_context_equal_the_whole(codec: Codec) -> None:
    latents = torch.randn(1, SMALL.latent_dim, 90)
    context = SMALL.context_latents
    with torch.no_grad():
        whole = codec.decode(latents)[0, 0]
        part = codec.decode(latents[:, :, 40 - context : 50 + context])[0, 0]
    middle = part[context * 960 : -context * 960]
    assert torch.allclose(middle, whole[40 * 960 : 50 * 960], atol=1e-6)


def test_context_is_not_larger_than_needed_by_much(codec: Codec) -> None:
    """One latent of context less does change the result: the stated context is the receptive field."""
    latents = torch.randn(1, SMALL.latent_dim, 90)
    changed = latents.clone()
    changed[:, :, 45 - SMALL.context_latents + 1] += 10
    with torch.no_grad():
        a, b = codec.decode(latents)[0, 0], codec.decode(changed)[0, 0]
    assert not torch.equal(a[45 * 960 : 46 * 960], b[45 * 960 : 46 * 960])
