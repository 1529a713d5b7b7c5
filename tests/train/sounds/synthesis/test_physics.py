"""The physics of synthesised sounds against closed forms: modes, decays, bubbles, vessels, slips, noise."""

from __future__ import annotations

import numpy as np
import pytest

from edgefoley.train.sounds.synthesis.fragments import bounces
from edgefoley.train.sounds.synthesis.friction import slips, stick_slip
from edgefoley.train.sounds.synthesis.liquid import bubble, bubble_cloud, fill_pitch, minnaert, pour
from edgefoley.train.sounds.synthesis.modal import (
    MATERIALS,
    SHAPES,
    Body,
    bar_pitch,
    body,
    contact_samples,
    decay_rates,
    decaying,
    hit,
    plate_pitch,
    pulse,
    ratios,
    ring,
)
from edgefoley.train.sounds.synthesis.noise import band, drift, instants, moving_band, noise, power_law
from edgefoley.train.sounds.synthesis.rotation import engine, phase_of
from edgefoley.train.sounds.synthesis.sound import RATE, scatter, treble


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def peaks(wave: np.ndarray, number: int) -> np.ndarray:
    """The ``number`` strongest separate spectral peaks in Hz, ascending, refined by a parabola."""
    size = 1 << 19
    level = np.log(np.abs(np.fft.rfft(wave * np.hanning(len(wave)), size)) + 1e-12)
    inner = level[1:-1]
    found = np.flatnonzero((inner > level[:-2]) & (inner >= level[2:])) + 1
    strongest = found[np.argsort(level[found])[::-1]]
    kept: list[int] = []
    for place in strongest.tolist():
        if all(abs(place - other) * RATE / size > 40 for other in kept):
            kept.append(place)
        if len(kept) == number:
            break
    at = np.array(sorted(kept))
    left, middle, right = level[at - 1], level[at], level[at + 1]
    return (at + 0.5 * (left - right) / (left - 2 * middle + right)) * RATE / size


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("bar", [1, 2.756, 5.404, 8.933]),  # free at both ends
        ("cantilever", [1, 6.267, 17.547]),
        ("membrane", [1, 1.593, 2.136, 2.296, 2.653]),  # zeros of Bessel functions over the first
    ],
)
def test_spectral_peaks_of_a_shape_lie_at_its_ratios(shape: str, expected: list[float]) -> None:
    pitch = 300.0
    f = pitch * ratios(shape, len(expected))
    wave = ring(f, np.full(len(f), 6.0), np.ones(len(f)), RATE)
    np.testing.assert_allclose(peaks(wave, len(expected)) / pitch, expected, rtol=2e-3)


def test_a_square_plate_has_the_sums_of_squares() -> None:
    np.testing.assert_allclose(ratios("plate", 5, 1.0), np.array([2, 5, 5, 8, 10]) / 2)


@pytest.mark.parametrize("shape", SHAPES)
def test_modes_ascend(shape: str) -> None:
    found = ratios(shape, 20)
    assert len(found) == 20 and np.all(np.diff(found) >= 0)


def test_an_unknown_shape_names_the_known() -> None:
    with pytest.raises(ValueError, match="membrane"):
        ratios("torus", 3)


def test_sizes_set_the_pitch() -> None:
    """A steel bar of 20 cm by 5 mm: f1 = 1.028 c h / L^2 = 655 Hz; half the length is two octaves up."""
    steel = MATERIALS["metal"]
    assert bar_pitch(steel, 0.2, 0.005) == pytest.approx(1.028 * 5100 * 0.005 / 0.04, rel=0.01)
    assert bar_pitch(steel, 0.1, 0.005) == pytest.approx(4 * bar_pitch(steel, 0.2, 0.005))
    assert plate_pitch(steel, 0.4, 0.4, 0.002) == pytest.approx(4 * plate_pitch(steel, 0.8, 0.8, 0.002))


@pytest.mark.parametrize("material", ["wood", "metal", "glass"])
def test_a_mode_falls_by_60_db_in_the_time_of_its_rate(material: str) -> None:
    frequency = np.array([700.0])
    rate = float(decay_rates(MATERIALS[material], frequency)[0])
    t60 = 6.9078 / rate
    wave = decaying(700.0, rate, int(1.2 * t60 * RATE))
    period = RATE // 700 + 1
    early = np.abs(wave[: 2 * period]).max()
    late = np.abs(wave[int(t60 * RATE) : int(t60 * RATE) + 2 * period]).max()
    assert 20 * np.log10(early / late) == pytest.approx(60, abs=1.5)


def test_high_modes_die_first_and_metal_rings_longest() -> None:
    f = np.array([200.0, 1000.0, 5000.0])
    for material in MATERIALS.values():
        assert np.all(np.diff(decay_rates(material, f)) > 0)
    order = [
        decay_rates(MATERIALS[m], f)[1] for m in ("metal", "glass", "ceramic", "stone", "wood", "plastic")
    ]
    assert order == sorted(order)


def test_modes_by_blocks_equal_the_formula() -> None:
    t = np.arange(3001) / RATE
    np.testing.assert_allclose(
        decaying(1234.5, 17.0, 3001), np.exp(-17 * t) * np.sin(2 * np.pi * 1234.5 * t), atol=1e-9
    )


def test_a_harder_hit_is_a_shorter_and_higher_pulse() -> None:
    widths = [contact_samples(2.0, s) for s in (0.0, 0.3, 0.6, 1.0)]
    assert widths == sorted(widths, reverse=True) and widths[0] > 1.8 * widths[-1]
    assert pulse(37).sum() == pytest.approx(1.0)
    target = Body(np.array([400.0]), np.array([20.0]), np.array([1.0]), MATERIALS["wood"])
    soft, hard = (np.abs(hit(rng(), target, s, 0.3)).max() for s in (0.2, 0.8))
    assert (
        hard / soft > (120**0.6) ** 1.2 * 0.5
    )  # v^6/5 over that range of speeds, less what the pulse filters


def test_dense_modes_leave_the_shape_where_it_is() -> None:
    plain, dense = (body(rng(3), "plate", "wood", 200.0, 12, 1.0, n) for n in (0, 30))
    np.testing.assert_array_equal(dense.frequencies[: len(plain.frequencies)], plain.frequencies)
    assert len(dense.frequencies) == len(plain.frequencies) + 30


def test_a_bubble_sings_at_minnaerts_frequency() -> None:
    """3.26 m/s over the radius: 1 mm sings at 3.26 kHz."""
    assert minnaert(1e-3) == pytest.approx(3260, rel=0.01)
    for radius in (1e-3, 3e-3):
        assert peaks(bubble(radius), 1)[0] == pytest.approx(3.26 / radius, rel=0.02)


def test_a_rising_bubble_ends_higher() -> None:
    wave = bubble(4e-3, 0.3)
    crossings = np.flatnonzero((wave[:-1] < 0) & (wave[1:] >= 0))
    half = len(crossings) // 2
    assert np.diff(crossings[:half]).mean() > 1.1 * np.diff(crossings[half:]).mean()


def test_pouring_rises_with_the_air_column() -> None:
    """The strongest frequency below 1.5 kHz climbs as a closed pipe's does while the vessel fills."""
    wave = pour(rng(1), rng(2), 0.7, 3.0)
    third = len(wave) // 3
    centres = []
    for i in (0, 2):
        power = np.abs(np.fft.rfft(wave[i * third : (i + 1) * third])) ** 2
        f = np.fft.rfftfreq(third, 1 / RATE)
        low = (f > 150) & (f < 4000)
        smooth = np.convolve(power[low], np.ones(60), "same")
        centres.append(f[low][np.argmax(smooth)])
    assert centres[1] > 1.25 * centres[0]
    assert fill_pitch(0.25, 0.03, np.array([0.0]))[0] == pytest.approx(343 / (4 * 0.268), rel=1e-6)


def test_larger_bubbles_sound_lower() -> None:
    rate = np.full(RATE, 150.0)
    small, large = (bubble_cloud(rng(), rate, r, 2.0, 0.0) for r in ((4e-4, 1e-3), (3e-3, 8e-3)))
    assert centroid(large) < 0.4 * centroid(small)


def test_stick_slip_has_the_stated_rate() -> None:
    target = body(rng(5), "plate", "wood", 400.0, 12, 1.5)
    wave = stick_slip(rng(1), np.full(RATE, 80.0), np.ones(RATE), target, 0.0)
    envelope = np.abs(wave) - np.abs(wave).mean()
    spectrum = np.abs(np.fft.rfft(envelope))
    assert 30 + np.argmax(spectrum[30:200]) == pytest.approx(80, abs=1)
    gaps = np.diff(slips(rng(), np.full(RATE, 50.0), 0.0))
    np.testing.assert_allclose(gaps, RATE / 50, atol=1.01)
    assert np.std(np.diff(slips(rng(), np.full(RATE, 50.0), 0.2))) > 100


def test_four_cylinders_fire_twice_a_turn() -> None:
    """1500 rpm and four strokes: 25 turns a second, 50 explosions."""
    wave = engine(rng(1), rng(2), np.full(2 * RATE, 1500.0), 4, np.full(2 * RATE, 0.5), 0.8)
    spectrum = np.abs(np.fft.rfft(wave))
    f = np.fft.rfftfreq(len(wave), 1 / RATE)
    at = {hz: spectrum[np.abs(f - hz) < 1.0].max() for hz in (50, 41, 58)}
    assert at[50] > 5 * max(at[41], at[58])


def test_a_dropped_things_bounces_shorten_by_its_restitution() -> None:
    times = np.array([time for time, _ in bounces(0.2, 0.6, 0.01)])
    gaps = np.diff(times)
    np.testing.assert_allclose(gaps[1:] / gaps[:-1], 0.6)
    assert times[-1] < 0.2 / (1 - 0.6)


def centroid(wave: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(wave)) ** 2
    return float((power * np.fft.rfftfreq(len(wave), 1 / RATE)).sum() / power.sum())


def test_noise_has_its_spectrum() -> None:
    wave = noise(rng(), 4 * RATE, [(500, 0), (501, 0), (2000, -20), (8000, -40)])
    f = np.fft.rfftfreq(len(wave), 1 / RATE)
    power = np.abs(np.fft.rfft(wave)) ** 2
    level = [10 * np.log10(power[(f > hz * 0.97) & (f < hz * 1.03)].mean()) for hz in (300, 2000, 8000)]
    np.testing.assert_allclose(np.diff(level), [-20, -20], atol=1.0)
    assert np.mean(wave**2) == pytest.approx(1.0, rel=1e-6)
    assert centroid(band(rng(), RATE, 1000, 0.5)) == pytest.approx(1000, rel=0.15)


def test_a_moving_band_moves_and_keeps_its_level() -> None:
    centre = np.geomspace(400, 4000, 2 * RATE)
    wave = moving_band(rng(), centre, 0.15)
    quarter = len(wave) // 4
    first, last = wave[:quarter], wave[-quarter:]
    assert centroid(first) == pytest.approx(np.mean(centre[:quarter]), rel=0.12)
    assert centroid(last) == pytest.approx(np.mean(centre[-quarter:]), rel=0.12)
    assert 0.7 < np.std(first) / np.std(last) < 1.4


def test_instants_are_poisson_at_the_rate() -> None:
    number = [len(instants(rng(seed), 100.0, RATE)) for seed in range(60)]
    assert np.mean(number) == pytest.approx(100, rel=0.05)
    assert np.var(number) == pytest.approx(100, rel=0.6)
    ramp = instants(rng(), np.linspace(0, 2000, RATE), RATE)
    assert np.mean(ramp < RATE / 2) == pytest.approx(0.25, abs=0.05)


def test_power_law_has_its_exponent() -> None:
    values = power_law(rng(), 200_000, 1.8, 1.0, 1000.0)
    count, edges = np.histogram(values, np.geomspace(1, 100, 9))
    slope = np.polyfit(np.log(np.sqrt(edges[1:] * edges[:-1])), np.log(count / np.diff(edges)), 1)[0]
    assert slope == pytest.approx(-1.8, abs=0.08)
    with pytest.raises(ValueError, match="exponent"):
        power_law(rng(), 3, 1.0, 1.0, 2.0)


def test_drift_stays_around_one_and_is_slow() -> None:
    curve = drift(rng(), 20 * RATE, 3.0, 0.3)
    assert np.mean(np.log(curve)) == pytest.approx(0, abs=0.1) and curve.min() > 0
    assert np.abs(np.diff(curve)).max() < 3e-4


def test_scattering_many_equals_adding_one_by_one() -> None:
    grains = rng().standard_normal((3, 500))
    which = rng(1).integers(0, 3, 4000)
    starts, gains = np.floor(rng(2).uniform(0, 9000, 4000)), rng(3).standard_normal(4000)
    out = np.zeros(9000)
    scatter(out, grains, which, starts, gains)
    expected = np.zeros(9600)
    for g, s, a in zip(which, starts.astype(int), gains, strict=True):
        expected[s : s + 500] += a * grains[g]
    np.testing.assert_allclose(out, expected[:9000], atol=1e-9)


def test_the_shelf_lifts_only_the_treble() -> None:
    impulse = np.zeros(8192)
    impulse[0] = 1.0
    gain = 20 * np.log10(np.abs(np.fft.rfft(treble(impulse, 6.0))))
    f = np.fft.rfftfreq(8192, 1 / RATE)
    assert gain[np.argmin(np.abs(f - 50))] == pytest.approx(0, abs=0.1)
    assert gain[np.argmin(np.abs(f - 12_000))] == pytest.approx(6, abs=0.2)


def test_phase_counts_turns() -> None:
    assert phase_of(np.full(RATE, 440.0))[-1] / (2 * np.pi) == pytest.approx(440)
