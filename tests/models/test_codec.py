"""The codec: lengths, silence, clicks, exact chunks, right levels, white latents, the exported graph."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgefoley.metrics.audio_quality import attack_error  # noqa: E402
from edgefoley.models.codec import (  # noqa: E402
    Codec,
    CodecConfig,
    ExportDecoder,
    mel_bank,
    mel_interpolation,
    unsaid_noise,
)  # fmt: skip

SMALL = CodecConfig(coarse_width=32, fine_width=24, coarse_depth=1, fine_depth=1)
UNSAID = replace(SMALL, unsaid=1.0)
BANDS = SMALL.fold * SMALL.bands


def sounds(seconds: float) -> torch.Tensor:
    """Noises of changing level and colour with bursts, (8, samples)."""
    rng = np.random.default_rng(0)
    count = int(seconds * 48_000) // 960 * 960
    rows = []
    for _ in range(8):
        wave = rng.standard_normal(count)
        kernel = np.exp(-np.arange(64) / rng.uniform(0.5, 20)) * rng.choice([-1, 1], 64)
        level = np.interp(np.arange(count), np.linspace(0, count, 20), 10 ** rng.uniform(-4, -1, 20))
        for at in rng.integers(0, count - 9600, 6):
            level[at : at + 9600] *= 10 ** rng.uniform(-3, 0)
        rows.append(np.convolve(wave, kernel / np.sqrt(np.square(kernel).sum()), "same") * level)
    return torch.tensor(np.stack(rows), dtype=torch.float32)


@pytest.fixture(scope="module")
def codec() -> Codec:
    torch.manual_seed(0)
    made = Codec(SMALL).eval()
    rng = np.random.default_rng(3)
    clicks = np.zeros((4, 96_000), np.float32)
    for row in clicks:
        for at in rng.integers(0, 95_000, 6):
            length = int(rng.integers(1, 900))
            row[at : at + length] += rng.standard_normal(length) * 0.3
    with torch.no_grad():
        features = torch.cat(
            [made.encoder.features(w).flatten(0, 1) for w in (sounds(8), torch.tensor(clicks))]
        )
        assert made.fit(features) > 0.9
    return made


@pytest.mark.parametrize("count", [1, 2, 37])
def test_one_latent_is_960_samples(codec: Codec, count: int) -> None:
    with torch.no_grad():
        latents = codec.encode(torch.randn(2, 960 * count) * 0.1)
        assert latents.shape == (2, SMALL.latent_dim, count)
        assert codec.decode(latents).shape == (2, 1, 960 * count)


def test_latents_are_white(codec: Codec) -> None:
    """On the sound they were fitted on, band channels have mean 0, variance 1 and no correlation, and so do
    the attacks' variances."""
    made = Codec(SMALL)
    with torch.no_grad():
        features = made.encoder.features(sounds(8)).flatten(0, 1)
        made.fit(features)
        rows = (features - made.encoder.centre) @ made.encoder.analysis
    assert rows.mean(0).abs().max() < 1e-2
    assert torch.allclose(rows.var(0), torch.ones(SMALL.latent_dim), atol=2e-2)
    bands = rows[:, :-3]
    assert torch.allclose(torch.cov(bands.T), torch.eye(SMALL.latent_dim - 3), atol=2e-2)


def test_attacks_pass_through_unchanged(codec: Codec) -> None:
    wave = sounds(2)
    with torch.no_grad():
        features = codec.encoder.features(wave)
        _, attacks = codec.decoder.levels(codec.encode(wave))
    assert torch.allclose(attacks, features[..., -3:], atol=1e-3)


def test_untrained_decoder_already_has_the_right_levels(codec: Codec) -> None:
    """Before training the decoder spells out the latents' envelope: band levels agree to 1.5 dB."""
    wave = torch.tensor(np.random.default_rng(1).standard_normal((1, 96_000)) * 0.05, dtype=torch.float32)
    with torch.no_grad():
        made = codec.decode(codec.encode(wave))[:, 0]
        true, heard = (codec.encoder.features(w)[0, 5:-5, :BANDS].exp().mean(0) for w in (wave, made))
    ratio = [x.reshape(3, -1, 8).mean((0, 2)) for x in (heard, true)]
    difference = 10 * torch.log10(ratio[0] / ratio[1])
    assert difference.abs().max() < 2.5 and difference.abs().mean() < 1.5


def test_silence_is_below_minus_70_dbfs(codec: Codec) -> None:
    with torch.no_grad():
        made = codec.decode(codec.encode(torch.zeros(1, 48_000)))
    assert 20 * np.log10(float(made.abs().max()) + 1e-12) < -70


@pytest.mark.parametrize("at", [24_000, 24_333, 24_800])
@pytest.mark.parametrize("length", [1, 100, 2400])
def test_a_click_keeps_its_onset_and_has_no_pre_echo(codec: Codec, at: int, length: int) -> None:
    wave = np.zeros((1, 48_000), np.float32)
    decay = np.exp(-np.arange(length) / (0.2 * length))
    wave[0, at : at + length] = 0.5 * np.random.default_rng(at).choice([-1, 1], length) * decay
    with torch.no_grad():
        made = codec.decode(codec.encode(torch.tensor(wave)))[0, 0].numpy()
    late, echo = attack_error(made, wave[0])
    assert abs(late) < 0.002
    assert echo < -40


def test_a_tone_that_sets_in_gets_no_click(codec: Codec) -> None:
    """Only what dies away at once is given an impulse to begin with."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(48_000)
    noise[:24_100] = 0
    click = np.zeros(48_000)
    click[24_100] = 0.9
    largest = []
    for wave in (noise, click):
        with torch.no_grad():
            made = codec.decode(codec.encode(torch.tensor(wave[None], dtype=torch.float32)))[0, 0]
        largest.append(float(made[24_000:24_300].abs().max() / made[24_000:27_000].square().mean().sqrt()))
    assert largest[0] < 5 and largest[1] > 15


def test_chunks_with_context_equal_the_whole(codec: Codec) -> None:
    """Also the noise, for a chunk that is told where it begins."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, SMALL.latent_dim, 260, generator=generator)
    context = SMALL.context_latents
    assert context % SMALL.noise_latents == 0
    with torch.no_grad():
        whole = codec.decode(latents)[0, 0]
        first = 100 - context
        part = codec.decoder(latents[:, :, first : 150 + context], first * SMALL.fold)[0, 0]
    middle = part[context * 960 : -context * 960]
    wanted = whole[100 * 960 : 150 * 960]
    assert (middle - wanted).abs().max() < 1e-4 * wanted.abs().max()


@pytest.mark.parametrize("bands", [1, 4])
def test_steady_sound_does_not_repeat(bands: int) -> None:
    """Fluctuations of a steady sound against themselves some time later, by the best match of any time: one
    period again and again is the same noise (0.9)."""
    codec = Codec(replace(SMALL, noise_bands=bands))
    generator = torch.Generator().manual_seed(1)
    latents = 0.01 * torch.randn(1, SMALL.latent_dim, 400, generator=generator)

    def repeats(wave: torch.Tensor) -> float:
        power = torch.stft(wave, 512, 240, window=torch.hann_window(512), return_complex=True).abs().square()
        level = (power[5:200] + 1e-12).log()
        level = level - level.mean(1, keepdim=True)
        lags = range(100, 1000, 2)
        return max(float((level[:, :-k] * level[:, k:]).mean() / level.square().mean()) for k in lags)

    with torch.no_grad():
        made = codec.decode(latents)[0, 0]
        codec.decoder.noise = lambda count, _: looped(codec, count)  # type: ignore[method-assign]
        loop = codec.decode(latents)[0, 0]
    assert repeats(loop) > 0.8
    assert repeats(made) < (0.3 if bands == 1 else 0.15)
    assert made.square().mean().sqrt() == pytest.approx(float(loop.square().mean().sqrt()), rel=0.03)
    level = made[: 8 * 48_000].reshape(-1, 480).square().mean(1).log10() * 10
    turns = torch.cat([level[100 * k - 1 : 100 * k + 1] for k in range(1, 8)])  # where a period begins
    assert abs(float(turns.mean() - level.mean())) < 1


def looped(codec: Codec, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The stored noise, again and again."""
    rows = torch.arange(count) % SMALL.noise_frames
    return codec.decoder.noise_real[rows], codec.decoder.noise_imag[rows]


def test_exported_decoder_is_the_decoder(codec: Codec) -> None:
    """Traced, in ONNX Runtime, at three lengths; the engine's arithmetic against PyTorch's."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from edgefoley.export.components import decoder_graph
    from edgefoley.export.graph import export_graph, verify

    latents = torch.randn(1, SMALL.latent_dim, 112)
    with torch.no_grad():
        assert torch.equal(ExportDecoder(codec.decoder)(latents), codec.decoder(latents))
    spec = decoder_graph(codec.decoder)
    assert verify(spec, export_graph(spec), 1e-3) < 1e-3


def test_excitation_is_white_with_unit_variance_and_fluctuates_like_noise() -> None:
    """Where latents say nothing of it: the stored spectra overlap-add to white noise of variance one; their
    magnitudes vary as those of noise do (Rayleigh: deviation 0.52 of the mean)."""
    spectra = unsaid_noise(UNSAID, torch.zeros(64, SMALL.features)).numpy().astype(np.complex128)
    magnitude = np.abs(spectra[:, 1:-1])
    assert magnitude.std() / magnitude.mean() == pytest.approx(math.sqrt(4 / math.pi - 1), abs=0.01)
    inner = overlapped(spectra)
    assert inner.std() == pytest.approx(1, abs=0.02) and abs(inner.mean()) < 0.02
    correlation = [np.mean(inner[lag:] * inner[: len(inner) - lag]) for lag in (1, 2, 7, 320)]
    assert np.abs(correlation).max() < 0.03


def overlapped(spectra: np.ndarray) -> np.ndarray:
    """The wave of windows' spectra, without the ends that fewer windows cover."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1280) / 1280)
    wave = np.zeros(149 * 320 + 1280)
    for i, frame in enumerate(np.fft.irfft(spectra, 1280) * window):
        wave[i * 320 : i * 320 + 1280] += frame / 1.5
    return wave[480 + 960 : -1280]  # frame 0 begins 480 samples before latent 0


def test_excitation_lacks_what_latents_say_of_a_noise_and_nothing_else(codec: Codec) -> None:
    """Band levels of noise fluctuate. Of the stored noise the part within the latents' components is mostly
    gone, the rest is there as in white noise, and the variance is one."""
    levels = codec.encoder.synthesis[:-3, :-3].double().numpy()
    rows = np.linalg.qr(levels.T)[0]

    def parts(synthesis: torch.Tensor) -> tuple[float, float, float]:
        wave = overlapped(unsaid_noise(UNSAID, synthesis).numpy().astype(np.complex128))
        wave = wave[: len(wave) // 960 * 960].astype(np.float32)
        found = codec.encoder.features(torch.from_numpy(wave)[None])[0, 2:-2, :-3].double().numpy()
        found -= found.mean(0)
        said = found @ rows @ rows.T
        return float(said.std()), float((found - said).std()), float(wave.std())

    white, less = parts(torch.zeros(64, SMALL.features)), parts(codec.decoder.synthesis)
    assert less[0] < 0.4 * white[0]
    assert less[1] == pytest.approx(white[1], rel=0.1)
    assert less[2] == pytest.approx(1, abs=0.03)


def test_excitation_follows_the_weights_that_are_loaded(codec: Codec) -> None:
    fresh = Codec(UNSAID)
    white = fresh.decoder.noise_real.clone()
    fresh.load_state_dict(codec.state_dict())
    assert not torch.equal(fresh.decoder.noise_real, white)
    assert torch.equal(codec.decoder.noise_real, white), "nano's own noise stays white"


def test_mel_bank_and_interpolation() -> None:
    bank, back = mel_bank(641, 144), mel_interpolation(144, 641)
    assert torch.allclose(bank.sum(0), torch.ones(144), atol=1e-5)
    assert torch.allclose(back.sum(0), torch.ones(641), atol=1e-5)
    centre = (bank * torch.arange(641)[:, None]).sum(0)
    assert torch.all(centre[1:] > centre[:-1] - 1e-6)


def test_noise_fluctuates_after_a_trip_as_it_did_before(codec: Codec) -> None:
    """Local deviation of the log magnitudes of decoded noise, which even magnitudes lose."""

    def deviation(wave: np.ndarray) -> float:
        frames = np.lib.stride_tricks.sliding_window_view(wave, 1024)[::256] * np.hanning(1024)
        level = np.log(np.abs(np.fft.rfft(frames))[:, 20:400] + 1e-9)
        near = np.stack([level[:-2], level[1:-1], level[2:]]).mean(0)
        return float((level[1:-1] - near).std())

    wave = 0.1 * np.random.default_rng(0).standard_normal(96_000).astype(np.float32)
    latents = codec.encode(torch.from_numpy(wave)[None])
    with torch.no_grad():
        made = codec.decode(latents)[0, 0].numpy()
    assert deviation(made) > 0.85 * deviation(wave)
