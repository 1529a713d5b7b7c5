"""The codec: lengths, the exported inverse transform against an independent one, exact chunks, right
levels."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgefoley.models.codec import Codec, CodecConfig, ExportDecoder, mel_bank, mel_interpolation  # noqa: E402

SMALL = CodecConfig(latent_dim=24, coarse_width=32, fine_width=24)


def sounds(seconds: float) -> torch.Tensor:
    """Noises of changing level and colour, (4, samples)."""
    rng = np.random.default_rng(0)
    count = int(seconds * 48_000) // 960 * 960
    rows = []
    for _ in range(4):
        wave = rng.standard_normal(count)
        kernel = np.exp(-np.arange(64) / rng.uniform(0.5, 20))
        level = np.interp(np.arange(count), np.linspace(0, count, 20), 10 ** rng.uniform(-4, -1, 20))
        rows.append(np.convolve(wave, kernel / np.sqrt(np.square(kernel).sum()), "same") * level)
    return torch.tensor(np.stack(rows), dtype=torch.float32)


@pytest.fixture(scope="module")
def codec() -> Codec:
    torch.manual_seed(0)
    made = Codec(SMALL).eval()
    with torch.no_grad():
        assert made.fit(made.encoder.levels(sounds(8)).flatten(0, 1)) > 0.9
    return made


@pytest.mark.parametrize("count", [1, 2, 37])
def test_one_latent_is_960_samples(codec: Codec, count: int) -> None:
    with torch.no_grad():
        latents = codec.encode(torch.randn(2, 960 * count) * 0.1)
        assert latents.shape == (2, SMALL.latent_dim, count)
        assert codec.decode(latents).shape == (2, 1, 960 * count)


def test_latents_are_white(codec: Codec) -> None:
    """On the sound they were fitted on, channels have mean 0, variance 1 and no correlation."""
    with torch.no_grad():
        rows = codec.encode(sounds(8)).transpose(1, 2).flatten(0, 1)
    assert rows.mean(0).abs().max() < 1e-2
    assert torch.allclose(torch.cov(rows.T), torch.eye(SMALL.latent_dim), atol=2e-2)


def test_untrained_decoder_already_has_the_right_levels(codec: Codec) -> None:
    """Before training the decoder is noise filtered by the envelope in the latents: band levels agree to 1.5
    dB."""
    wave = torch.tensor(np.random.default_rng(1).standard_normal((1, 96_000)) * 0.05, dtype=torch.float32)
    with torch.no_grad():
        made = codec.decode(codec.encode(wave))[:, 0]
        true, heard = (codec.encoder.levels(w)[0, 5:-5].exp().mean(0).log() for w in (wave, made))
    difference = 10 / np.log(10) * (heard - true)
    assert difference.abs().max() < 2.5 and difference.abs().mean() < 1.5


def test_silence_stays_silent(codec: Codec) -> None:
    with torch.no_grad():
        made = codec.decode(codec.encode(torch.zeros(1, 48_000)))
    assert 20 * np.log10(float(made.abs().max()) + 1e-12) < -50


def test_exported_inverse_transform_equals_numpy(codec: Codec) -> None:
    """The transposed convolution in the graph against overlap-add of numpy's inverse FFT."""
    latents = torch.randn(1, SMALL.latent_dim, 12)
    with torch.no_grad():
        made = ExportDecoder(codec.decoder)(latents)[0, 0].numpy()
        real, imag = (part[0].numpy().astype(np.float64) for part in codec.decoder.spectrum(latents))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(960) / 960)
    wave = np.zeros(47 * 240 + 960)
    for i, frame in enumerate(np.fft.irfft(real + 1j * imag, 960) * window):
        wave[i * 240 : i * 240 + 960] += frame
    assert np.abs(made - wave[360:-360] / 1.5).max() < 1e-5 * np.abs(wave).max()


def test_chunks_with_context_equal_the_whole(codec: Codec) -> None:
    """Also the noise: a chunk that begins at a multiple of its period hears the same one."""
    latents = torch.randn(1, SMALL.latent_dim, 260)
    context = SMALL.context_latents
    assert context % SMALL.noise_latents == 0
    with torch.no_grad():
        whole = codec.decode(latents)[0, 0]
        part = codec.decode(latents[:, :, 100 - context : 150 + context])[0, 0]
    middle = part[context * 960 : -context * 960]
    assert torch.allclose(middle, whole[100 * 960 : 150 * 960], atol=1e-5)


def test_excitation_is_white_with_unit_variance(codec: Codec) -> None:
    """The stored spectra overlap-add to white noise of variance one, whatever the machine."""
    real, imag = codec.decoder.noise.numpy().astype(np.float64).reshape(200, 2, -1).transpose(1, 0, 2)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(960) / 960)
    wave = np.zeros(199 * 240 + 960)
    for i, frame in enumerate(np.fft.irfft(real + 1j * imag, 960) * window):
        wave[i * 240 : i * 240 + 960] += frame / 1.5
    inner = wave[960:-960]
    assert inner.std() == pytest.approx(1, abs=0.02) and abs(inner.mean()) < 0.02
    correlation = [np.mean(inner[lag:] * inner[: len(inner) - lag]) for lag in (1, 2, 7, 240)]
    assert np.abs(correlation).max() < 0.03


def test_mel_bank_and_interpolation() -> None:
    bank, back = mel_bank(481, 64), mel_interpolation(64, 481)
    assert torch.allclose(bank.sum(0), torch.ones(64), atol=1e-5)
    assert torch.allclose(back.sum(0), torch.ones(481), atol=1e-5)
    centre = (bank * torch.arange(481)[:, None]).sum(0)
    assert torch.all(centre[1:] > centre[:-1] - 1e-6)
