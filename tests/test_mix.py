from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from edgefoley import loudness, mix
from edgefoley.errors import NumericError, UsageError
from edgefoley.loudness import k_weighting, loudness_lufs, true_peak_dbtp
from edgefoley.types import Audio

RATE = 48000


def sine(seconds, dbfs, hertz=997.0, rate=RATE, phase=0.0):
    return 10 ** (dbfs / 20) * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate + phase)


def audio(samples, rate=RATE):
    return Audio(np.asarray(samples, dtype=np.float32), rate)


def both(samples):
    return np.stack([samples, samples])


def steps(seconds=10.0, rate=RATE):
    """Foley-like: short noisy hits in near silence."""
    rng = np.random.default_rng(3)
    time = np.arange(round(seconds * rate)) % (rate // 2)
    return rng.standard_normal(time.size) * np.exp(-time / (0.03 * rate)) * 0.3 + 1e-4 * rng.standard_normal(
        time.size
    )


# --- loudness: ITU-R BS.1770-4, EBU Tech 3341 ---------------------------------------------------------------


def test_k_weighting_is_the_standards_table_at_48_khz():
    (shelf, shelf_poles), (high, high_poles) = k_weighting(48000)
    np.testing.assert_allclose(shelf, [1.53512485958697, -2.69169618940638, 1.19839281085285], atol=1e-8)
    np.testing.assert_allclose(shelf_poles, [-1.69065929318241, 0.73248077421585], atol=1e-8)
    np.testing.assert_allclose(high, [1, -2, 1])
    np.testing.assert_allclose(high_poles, [-1.99004745483398, 0.99007225036621], atol=1e-8)


def test_full_scale_sine_in_one_channel():
    assert loudness_lufs(audio(sine(5, 0.0))) == pytest.approx(-3.01, abs=0.01)
    assert loudness_lufs(audio(both(sine(5, 0.0)))) == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("rate", [16000, 44100, 48000, 96000])
def test_the_rate_does_not_matter(rate):
    assert loudness_lufs(audio(sine(3, -20, rate=rate), rate)) == pytest.approx(-23.01, abs=0.05)


@pytest.mark.parametrize(
    ("parts", "wanted"),
    [
        ([(20, -23)], -23.0),  # Tech 3341 case 1
        ([(20, -33)], -33.0),  # case 2
        ([(10, -36), (60, -23), (10, -36)], -23.0),  # case 3: relative gate
        ([(10, -72), (10, -36), (60, -23), (10, -36), (10, -72)], -23.0),  # case 4: absolute gate
        ([(20, -26), (20.1, -20), (20, -26)], -23.0),  # case 5: nothing gated
    ],
)
def test_ebu_tech_3341(parts, wanted):
    # A quarter of the document's durations: the gates work on ratios.
    signal = np.concatenate([sine(seconds / 4, level, hertz=1000.0) for seconds, level in parts])
    assert loudness_lufs(audio(both(signal))) == pytest.approx(wanted, abs=0.1)


def test_silence_and_whisper_have_no_loudness():
    assert loudness_lufs(audio(np.zeros(RATE))) == -math.inf
    assert loudness_lufs(audio(sine(2, -80))) == -math.inf


def test_shorter_than_a_block():
    assert loudness_lufs(audio(sine(0.3, -20))) == pytest.approx(-23.01, abs=0.15)
    assert math.isfinite(loudness_lufs(audio([0.5])))


def test_long_sound_is_measured_across_the_filters_blocks():
    rng = np.random.default_rng(0)
    noise = 0.1 * rng.standard_normal(5 * RATE)
    halves = [loudness_lufs(audio(part)) for part in (noise[: 2 * RATE], noise[2 * RATE :])]
    assert loudness_lufs(audio(noise)) == pytest.approx(np.mean(halves), abs=0.05)


def test_second_implementation_agrees():
    pyloudnorm = pytest.importorskip("pyloudnorm", reason="pyloudnorm is not installed")
    rng = np.random.default_rng(1)
    for signal in (steps(), both(steps()), 0.05 * rng.standard_normal((2, 6 * RATE)), sine(3, -12, 80)):
        reference = pyloudnorm.Meter(RATE, filter_class="DeMan").integrated_loudness(np.atleast_2d(signal).T)
        assert loudness_lufs(audio(signal)) == pytest.approx(reference, abs=0.02)


# --- true peak ----------------------------------------------------------------------------------------------


def faded(signal, rate=RATE):
    edge = rate // 20
    ramp = np.ones(signal.size)
    ramp[:edge] = np.sin(np.pi / 2 * np.arange(edge) / edge) ** 2
    return signal * ramp * ramp[::-1]


def test_peak_between_the_samples():
    signal = faded(sine(1, 0.0, hertz=RATE / 4, phase=np.pi / 4))
    assert 20 * np.log10(np.abs(signal).max()) == pytest.approx(-3.01, abs=0.01)
    assert true_peak_dbtp(audio(signal)) == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize(("divisor", "degrees"), [(4, 0), (6, 60), (8, 67.5)])
def test_ebu_tech_3341_true_peak(divisor, degrees):
    """Cases 15 to 18: a sine at a fraction of the rate, -6 dBFS: -6.0 +0.2 -0.4 dBTP."""
    signal = faded(sine(1, -6.0, hertz=RATE / divisor, phase=np.radians(degrees)))
    assert -6.4 <= true_peak_dbtp(audio(signal)) <= -5.8


def test_true_peak_takes_the_louder_channel_and_never_reads_under_the_samples():
    quiet, loud = faded(sine(1, -20)), faded(sine(1, -7))
    assert true_peak_dbtp(audio([quiet, loud])) == pytest.approx(-7, abs=0.02)
    noise = np.random.default_rng(0).uniform(-1, 1, 5000)
    assert true_peak_dbtp(audio(noise)) >= 20 * np.log10(np.abs(noise).max()) - 1e-6
    assert true_peak_dbtp(audio(np.zeros(10))) == -math.inf


def test_true_peak_against_exact_interpolation():
    """Periodic noise: its wave between the samples is known exactly from its spectrum."""
    rng = np.random.default_rng(5)
    spectrum = np.fft.rfft(rng.standard_normal(4096))
    spectrum[1700:] = 0  # below 20 kHz, where 4 times oversampling reads at most 0.5 dB low
    period = np.fft.irfft(spectrum)
    exact = np.fft.irfft(np.pad(spectrum, (0, 16 * 2048 - 2048)), 16 * 4096) * 16
    measured = true_peak_dbtp(audio(np.tile(period, 5)))
    assert 20 * np.log10(np.abs(exact).max()) - 0.5 <= measured <= 20 * np.log10(np.abs(exact).max()) + 0.6


# --- long sounds: block by block ----------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 30, 9_951, 9_952, 9_953, 100_000])
def test_peaks_in_blocks_equal_the_whole(length, monkeypatch):
    """Against one convolution of the whole sound; block borders and both ends included."""
    monkeypatch.setattr(loudness, "_PEAK_TRANSFORM", 10_000)
    loudness._interpolator_spectra.cache_clear()
    signal = both(0.5 * np.random.default_rng(2).standard_normal(length).astype(np.float32))
    signal[1] = signal[1][::-1] * 1.1
    wanted = np.abs(signal).max(axis=0)
    for channel in signal:
        for taps in loudness._interpolator():
            between = np.abs(np.convolve(channel.astype(np.float64), taps))[taps.size // 2 - 1 :][
                : length + 1
            ]
            wanted = np.maximum(wanted, np.maximum(between[:-1], between[1:]))
    try:
        np.testing.assert_allclose(loudness.peak_envelope(audio(signal)), wanted, rtol=1e-6)
        stretches = [wanted[first : first + 64].max() for first in range(0, length, 64)]
        np.testing.assert_allclose(loudness.peak_envelope(audio(signal), 64), stretches, rtol=1e-6)
        assert true_peak_dbtp(audio(signal)) == pytest.approx(20 * np.log10(wanted.max()), abs=1e-6)
    finally:
        loudness._interpolator_spectra.cache_clear()


def test_loudness_in_blocks_equals_the_whole(monkeypatch):
    signal = audio(both(steps(5)))
    in_blocks = loudness_lufs(signal)
    monkeypatch.setattr(loudness, "_TRANSFORM", 1 << 19)
    assert in_blocks == pytest.approx(loudness_lufs(signal), abs=1e-9)


def test_levels_in_chunks_equal_the_whole(monkeypatch):
    loud, quiet = audio(both(sine(3, -12))), audio(steps(3))
    whole = mix.normalise(quiet, -14.0), mix.duck(loud, quiet), mix.duck(quiet, audio(steps(2)))
    monkeypatch.setattr(mix, "_CHUNK", 5_000)
    chunked = mix.normalise(quiet, -14.0), mix.duck(loud, quiet), mix.duck(quiet, audio(steps(2)))
    for a, b in zip(whole, chunked, strict=True):
        np.testing.assert_array_equal(a.samples, b.samples)


def test_a_long_sound_is_levelled_in_little_memory():
    """Two copies of the sound at once (amplified, limited) and blocks whose size its length does not
    change."""
    signal = audio(steps(60))
    mix.normalise(audio(steps(1)), -14.0)  # tables are made once
    tracemalloc.start()
    try:
        _, report = mix.normalise_with_report(signal, -14.0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert report.limited_db > 0
    assert peak < 2 * signal.samples.nbytes + 16e6


# --- normalising --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [-36.0, -23.0, -18.0])
def test_reaches_the_loudness(target):
    signal = faded(np.concatenate([sine(2, -30), sine(3, -25, 300)]))
    done, report = mix.normalise_with_report(audio(signal), target)
    assert loudness_lufs(done) == pytest.approx(target, abs=0.1)
    assert report.reached
    assert report.limited_db == 0
    np.testing.assert_allclose(done.samples, signal * 10 ** (report.gain_db / 20), rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(done.samples, mix.normalise(audio(signal), target).samples)


@pytest.mark.parametrize("ceiling", [-1.0, -3.0, -0.1])
@pytest.mark.parametrize("target", [-24.0, -14.0, -5.0, 0.0])
@pytest.mark.parametrize("kind", ["steps", "click", "hf", "stereo", "square"])
def test_the_ceiling_always_holds(kind, target, ceiling):
    signal = {
        "steps": steps(3),
        "click": np.eye(1, RATE, 20000)[0] * 0.8,
        "hf": faded(sine(1, 0.0, hertz=RATE / 4, phase=np.pi / 4)),
        "stereo": np.stack([steps(2), 3 * steps(2)[::-1]]),
        "square": np.sign(sine(1, 0, 200)) * 0.9,
    }[kind]
    done, report = mix.normalise_with_report(audio(signal), target, ceiling)
    assert true_peak_dbtp(done) <= ceiling
    assert report.true_peak == true_peak_dbtp(done)
    assert done.samples.shape == signal.shape
    assert done.samples.dtype == np.float32
    assert report.loudness_after == loudness_lufs(done)
    assert report.limited_db <= mix.MAX_LIMITING_DB + 0.5
    assert report.reached == (abs(report.loudness_after - target) <= 0.5)


def test_limiting_keeps_what_is_quiet_and_far():
    signal = 0.02 * sine(2, 0)
    signal[RATE : RATE + 200] += 0.99 * np.hanning(200)
    limited = mix.limit(audio(signal), -6.0).samples
    np.testing.assert_allclose(limited[: RATE - 2000], signal[: RATE - 2000], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(limited[-RATE // 4 :], signal[-RATE // 4 :], rtol=1e-2, atol=1e-6)
    assert np.abs(limited[RATE : RATE + 200]).max() == pytest.approx(10 ** (-6.1 / 20), rel=0.02)


def test_limiter_bends_and_does_not_jump():
    signal = np.full(RATE, 0.1)
    signal[RATE // 2 : RATE // 2 + 50] = 0.9
    gain = mix.limit(audio(faded(signal)), -12.0).samples[3000:-3000] / faded(signal)[3000:-3000]
    assert gain.min() < 0.4
    assert np.abs(np.diff(gain)).max() < 0.01


def test_quiet_enough_is_left_alone():
    signal = audio(steps(1) * 0.1)
    assert mix.limit(signal) is signal


def test_silence_stays_silence():
    done, report = mix.normalise_with_report(audio(np.zeros(RATE)), -20)
    assert not done.samples.any()
    assert not report.reached


def test_nearly_silent_sound_is_not_blown_up_without_end():
    done, report = mix.normalise_with_report(audio(sine(2, -62)), -10)
    assert report.gain_db == mix.MAX_GAIN_DB
    assert not report.reached
    assert loudness_lufs(done) == pytest.approx(-35, abs=0.1)


def test_senseless_loudness_and_nan():
    for lufs in (3.0, -71.0, math.nan):
        with pytest.raises(UsageError, match="makes no sense"):
            mix.normalise(audio(sine(1, -20)), lufs)
    broken = sine(1, -20)
    broken[7] = np.nan
    with pytest.raises(NumericError, match="NaN"):
        mix.normalise(audio(broken), -20)
    with pytest.raises(NumericError, match="NaN"):
        mix.limit(audio(broken))


# --- putting together ---------------------------------------------------------------------------------------


def test_add():
    mono, stereo = audio([0.1, 0.2, 0.3]), audio([[0.5, 0.5], [0.0, 0.25]])
    np.testing.assert_allclose(mix.add(stereo, mono).samples, [[0.6, 0.7, 0.3], [0.1, 0.45, 0.3]], rtol=1e-6)
    np.testing.assert_allclose(mix.add(mono, mono).samples, [0.2, 0.4, 0.6], rtol=1e-6)
    with pytest.raises(ValueError, match="48000 Hz and at 44100 Hz"):
        mix.add(mono, audio([0.1], 44100))


def test_duck_lowers_the_original_under_the_foley_only():
    original = audio(both(sine(6, -12)))
    foley = np.zeros(6 * RATE)
    foley[2 * RATE : 3 * RATE] = sine(1, -20, 500)
    lowered = mix.duck(original, audio(foley), depth_db=12.0)
    assert lowered.samples.shape == original.samples.shape
    level = np.sqrt((lowered.samples[0].reshape(-1, RATE // 10) ** 2).mean(axis=1)) / np.sqrt(
        (original.samples[0].reshape(-1, RATE // 10) ** 2).mean(axis=1)
    )
    gain = 20 * np.log10(level)
    np.testing.assert_allclose(gain[:19], 0, atol=0.05)
    np.testing.assert_allclose(gain[20:30], -12, atol=0.1)
    assert np.all(np.diff(gain[30:]) >= -1e-3)  # comes back without pumping
    assert gain[-1] > -0.1
    assert -9 < gain[33] < -1


def test_duck_without_foley_changes_nothing():
    original = audio(sine(2, -12))
    np.testing.assert_array_equal(mix.duck(original, audio(np.zeros(RATE))).samples, original.samples)
    with pytest.raises(ValueError, match="cannot duck"):
        mix.duck(original, audio([0.1], 44100))
