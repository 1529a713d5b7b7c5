"""The real Fourier transform as products, frames and overlap-add, and Griffin-Lim, against numpy."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgefoley.models.phase import (  # noqa: E402
    bin_order,
    dft_bases,
    frames_of,
    griffin_lim,
    inverse,
    overlap_add,
    transform,
)  # fmt: skip


@pytest.mark.parametrize("window", [16, 960, 1280])
def test_transform_and_inverse_equal_numpy(window: int) -> None:
    frames = np.random.default_rng(0).standard_normal((2, 3, window))
    bases = dft_bases(window)
    real, imag = transform(torch.tensor(frames, dtype=torch.float32), bases)
    wanted = np.fft.rfft(frames)[..., bin_order(window)]
    tolerance = 1e-6 * window
    assert np.abs(real.numpy() - wanted.real).max() < tolerance
    assert np.abs(imag.numpy() - wanted.imag).max() < tolerance
    assert np.abs(inverse(real, imag, bases).numpy() * 2 / window - frames).max() < 1e-5


def test_bins_are_each_there_once() -> None:
    assert sorted(bin_order(1280)) == list(range(641))


@pytest.mark.parametrize("count", [3, 4, 11])
def test_frames_add_up_to_the_wave_and_its_ends(count: int) -> None:
    hann = dft_bases(1280).hann
    wave = torch.randn(2, 320 * count)
    frames = frames_of(wave, hann)
    assert frames.shape == (2, count, 1280)
    assert torch.allclose(frames[0, 1], torch.nn.functional.pad(wave[0], (160, 1280))[:1280] * hann)
    assert torch.allclose(overlap_add(frames, hann), wave, atol=1e-5)


def reference(magnitude: np.ndarray, start: np.ndarray, rounds: int, momentum: float) -> np.ndarray:
    """Griffin-Lim with momentum by numpy's FFT, on (frames, bins); window 64, hop 16."""
    window, hop, side = 64, 16, 24
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)

    def wave(spectrum: np.ndarray) -> np.ndarray:
        total = np.zeros(hop * len(spectrum) + 2 * side)
        weight = np.zeros_like(total)
        for j, frame in enumerate(np.fft.irfft(spectrum) * hann):
            total[hop * j : hop * j + window] += frame
            weight[hop * j : hop * j + window] += hann**2
        return (total / np.maximum(weight, 1e-9))[side:-side]

    def analysis(made: np.ndarray) -> np.ndarray:
        padded = np.pad(made, side)
        return np.stack(
            [np.fft.rfft(padded[hop * j : hop * j + window] * hann) for j in range(len(magnitude))]
        )

    made, before = wave(start), None
    for _ in range(rounds):
        now = analysis(made)
        ahead = now if before is None else now + momentum * (now - before)
        before, made = now, wave(magnitude * ahead / np.abs(ahead))
    return made


def test_griffin_lim_equals_a_second_implementation() -> None:
    rng = np.random.default_rng(1)
    magnitude = rng.uniform(0.5, 2, (20, 33))
    start = magnitude * np.exp(2j * np.pi * rng.random((20, 33)))
    start[:, [0, -1]] = np.abs(start[:, [0, -1]])  # real, as every wave has them
    order = bin_order(64)
    as_tensor = lambda x: torch.tensor(x[None][..., order], dtype=torch.float32)  # noqa: E731
    made = griffin_lim(
        as_tensor(magnitude), (as_tensor(start.real), as_tensor(start.imag)), torch.ones(1, 320), 3, 0.9,
        dft_bases(64),
    )  # fmt: skip
    wanted = reference(magnitude, start, 3, 0.9)
    assert np.abs(made[0].numpy() - wanted).max() < 1e-3 * np.abs(wanted).max()


def test_more_rounds_come_closer_and_a_closed_gate_stays_silent() -> None:
    rng = np.random.default_rng(2)
    bases, order = dft_bases(64), bin_order(64)
    true = frames_of(torch.tensor(rng.standard_normal((1, 640)), dtype=torch.float32), bases.hann)
    magnitude = torch.tensor(np.abs(np.fft.rfft(true.numpy()))[..., order], dtype=torch.float32)
    angle = torch.tensor(rng.uniform(0, 2 * np.pi, magnitude.shape), dtype=torch.float32)
    start, open_ = (magnitude * angle.cos(), magnitude * angle.sin()), torch.ones(1, 640)

    def error(rounds: int) -> float:
        real, imag = transform(
            frames_of(griffin_lim(magnitude, start, open_, rounds, 0.9, bases), bases.hann), bases
        )
        return float((real.hypot(imag) - magnitude).norm() / magnitude.norm())

    errors = [error(r) for r in (0, 3, 20)]
    assert errors[0] > 1.2 * errors[1] > 1.4 * errors[2]
    gate = open_.clone()
    gate[:, 200:300] = 0
    made = griffin_lim(magnitude, start, gate, 3, 0.9, bases)
    assert made[:, 200:300].abs().max() == 0 and made[:, :200].abs().max() > 0


def test_a_bin_of_exactly_nothing_stays_finite_when_exported() -> None:
    """Silence has no phase. Exporters drop addends they take for nothing, and 0 / 0 would be left."""
    onnxruntime = pytest.importorskip("onnxruntime")
    from edgefoley.export.graph import GraphSpec, export_graph

    bases = dft_bases(64)

    class Search(torch.nn.Module):
        def forward(self, magnitude, real, gate):  # type: ignore[no-untyped-def]
            return griffin_lim(magnitude, (real, torch.zeros_like(real)), gate, 2, 0.9, bases)

    frames = 6
    example = {
        "magnitude": torch.ones(1, frames, 33),
        "real": torch.zeros(1, frames, 33),
        "gate": torch.ones(1, 16 * frames),
    }
    model = export_graph(GraphSpec("search", Search(), ("wave",), {}, [example], {}))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    made = session.run(None, {name: value.numpy() for name, value in example.items()})[0]
    assert made.shape == (1, 16 * frames) and np.isfinite(made).all()
