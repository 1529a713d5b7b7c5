"""Against textbook cases, scipy, and tests of which the truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgefoley.listening.comparisons import (
    Spread,
    against_margin,
    holm,
    listeners_needed,
    paired,
    power,
)
from edgefoley.listening.distributions import beta_fraction, noncentral_t_tail, t_cdf, t_quantile
from edgefoley.listening.intervals import bootstrap_interval, estimate

# Shrout and Fleiss 1979 (Psychological Bulletin 86, 420-428), table 2: six targets rated by four judges.
SHROUT = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float
)


@pytest.mark.parametrize(
    ("df", "t"), [(1, 12.706), (4, 2.776), (9, 2.262), (19, 2.093), (30, 2.042), (math.inf, 1.960)]
)
def test_printed_t_table(df, t):
    assert t_quantile(0.975, df) == pytest.approx(t, abs=5e-4)
    assert t_cdf(t, df) == pytest.approx(0.975, abs=1e-4)


def test_t_and_its_power_agree_with_scipy():
    stats = pytest.importorskip("scipy.stats", reason="an independent implementation (extra: networks)")
    for df in (1, 2.5, 4, 10, 33.3, 200):
        for t in (-30.0, -3.0, -0.1, 0.0, 0.5, 2.0, 10.0):
            assert t_cdf(t, df) == pytest.approx(stats.t.cdf(t, df), abs=1e-12)
        for p in (1e-6, 0.025, 0.3, 0.6, 0.975, 0.9999):
            assert t_quantile(p, df) == pytest.approx(stats.t.ppf(p, df), rel=1e-7)
        for shift in (-1.0, 0.0, 2.0, 4.0):
            assert noncentral_t_tail(2.0, df, shift) == pytest.approx(stats.nct.sf(2.0, df, shift), abs=1e-5)
    assert beta_fraction(2.0, 3.0, 0.4) == pytest.approx(stats.beta.cdf(0.4, 2, 3), abs=1e-13)


def test_what_has_no_distribution():
    for bad in (0, -1, math.nan):
        with pytest.raises(ValueError, match="freedom"):
            t_cdf(1.0, bad)
    for bad in (0.0, 1.0, 2.0):
        with pytest.raises(ValueError, match="probability"):
            t_quantile(bad, 5)


def test_variances_of_a_textbook_table():
    # Printed there: mean squares of targets 11.24, of judges 32.49, of the rest 1.02.
    found = estimate(SHROUT)
    assert (found.listeners, found.clips, found.ratings) == (6, 4, 24)
    assert found.variances == pytest.approx(((11.24 - 1.02) / 4, (32.49 - 1.02) / 6, 1.02), abs=0.01)
    square = 11.24 + 32.49 - 1.02
    assert found.se == pytest.approx(math.sqrt(square / 24), abs=1e-3)
    assert found.df == pytest.approx(square**2 / (11.24**2 / 5 + 32.49**2 / 3 + 1.02**2 / 15), abs=0.01)


def test_moments_of_an_incomplete_table_are_unbiased():
    """Known variances, a third of the ratings missing; the mean of many estimates finds them again."""
    random = np.random.default_rng(1)
    found = []
    for _ in range(1500):
        table = (
            random.standard_normal((9, 1)) * 0.5
            + random.standard_normal((1, 7)) * 0.8
            + random.standard_normal((9, 7)) * 0.6
        )
        table[random.random(table.shape) < 0.33] = np.nan
        # Estimates below 0 are shown as 0, which shifts the mean up a little: look at the rest and the clips.
        found.append(estimate(table).variances)
    listener, clip, rest = np.mean(found, axis=0)
    assert rest == pytest.approx(0.36, abs=0.01)
    assert clip == pytest.approx(0.64, abs=0.04)
    assert listener == pytest.approx(0.25, abs=0.03)


def test_one_clip_is_the_t_interval_over_listeners():
    stats = pytest.importorskip("scipy.stats", reason="an independent implementation (extra: networks)")
    ratings = np.array([[4.0], [3.0], [5.0], [4.0], [2.0]])
    ends = stats.ttest_1samp(ratings[:, 0], 0).confidence_interval(0.95)
    assert estimate(ratings).interval() == pytest.approx((ends.low, ends.high), rel=1e-9)


def test_no_interval_where_nothing_tells():
    assert estimate([[3.0, 4.0, 5.0]]).interval() is None and "one listener" in estimate([[3.0, 4.0]]).why
    equal = estimate(np.full((5, 4), 5.0))
    assert equal.mean == 5 and equal.interval() is None and equal.p_equal() is None and "equal" in equal.why
    alone = np.full((3, 3), np.nan)
    np.fill_diagonal(alone, [3.0, 4.0, 5.0])  # every listener heard another clip
    assert estimate(alone).interval() is None and "in common" in estimate(alone).why
    with pytest.raises(ValueError, match="at least one rating"):
        estimate(np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match="shape"):
        estimate([1.0, 2.0])


@pytest.mark.parametrize("listeners", [5, 20])
def test_both_intervals_cover_and_the_one_over_listeners_alone_does_not(listeners):
    """400 simulated tests; benchmarks/listening_intervals.py does 2,000 in more settings."""
    random = np.random.default_rng(listeners)
    held = {"t": 0, "bootstrap": 0, "listeners": 0}
    for _ in range(400):
        table = (
            3.5
            + 0.4 * random.standard_normal((listeners, 1))
            + 0.8 * random.standard_normal((1, 8))
            + 0.7 * random.standard_normal((listeners, 8))
        )
        means = table.mean(1)
        reach = t_quantile(0.975, listeners - 1) * means.std(ddof=1) / math.sqrt(listeners)
        ends = {
            "t": estimate(table).interval(),
            "bootstrap": bootstrap_interval(table, draws=399),
            "listeners": (means.mean() - reach, means.mean() + reach),
        }
        for name, (low, high) in ends.items():
            held[name] += low <= 3.5 <= high
    assert 0.92 <= held["t"] / 400 <= 0.98
    assert 0.92 <= held["bootstrap"] / 400 <= 0.98
    assert held["listeners"] / 400 < 0.88


def test_the_bootstrap_repeats_and_needs_two_clips():
    assert bootstrap_interval(SHROUT, draws=99) == bootstrap_interval(SHROUT, draws=99)
    assert bootstrap_interval(SHROUT[:, :1]) is None


def test_holm_by_hand():
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") gives 0.03 0.06 0.06 0.02
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.01, None, 0.04]) == [pytest.approx(0.02), None, pytest.approx(0.04)]
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_paired_difference_of_one_clip_is_the_paired_t_test():
    stats = pytest.importorskip("scipy.stats", reason="an independent implementation (extra: networks)")
    a, b = np.array([4.0, 5, 3, 4, 4, 2]), np.array([3.0, 5, 2, 4, 3, 3])
    found = paired(a[:, None], b[:, None])
    assert found.p_equal() == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-9)
    margins = against_margin(found, 0.3)
    shifted = stats.ttest_1samp(a - b, -0.3, alternative="greater").pvalue
    assert margins.p_not_worse == pytest.approx(shifted, rel=1e-9)
    above = stats.ttest_1samp(a - b, 0.3, alternative="less").pvalue
    assert margins.p_not_better == pytest.approx(above, rel=1e-9)


def test_common_leanings_cancel_and_missing_cells_are_left_out():
    random = np.random.default_rng(0)
    leaning, clip = random.standard_normal((6, 1)), random.standard_normal((1, 5))
    first = 3 + leaning + clip + 0.01 * random.standard_normal((6, 5))
    second = first - 0.5 + 0.01 * random.standard_normal((6, 5))
    second[0, 0] = np.nan
    found = paired(first, second)
    assert found.ratings == 29 and found.mean == pytest.approx(0.5, abs=0.01)
    low, high = found.interval()
    assert high - low < 0.05 < estimate(first).interval()[1] - estimate(first).interval()[0]
    assert paired(first, np.full((6, 5), np.nan)) is None


def test_not_worse_is_shown_by_precision_and_not_by_a_large_p():
    random = np.random.default_rng(3)
    precise = paired(3 + 0.1 * random.standard_normal((10, 8)), np.full((10, 8), 3.05))
    vague = paired(3 + 2.0 * random.standard_normal((5, 4)), np.full((5, 4), 3.0))
    assert against_margin(precise, 0.3).not_worse and against_margin(precise, 0.3).equivalent
    assert vague.p_equal() > 0.05 and not against_margin(vague, 0.3).not_worse
    worse = paired(3 + 0.1 * random.standard_normal((10, 8)), np.full((10, 8), 3.5))
    assert not against_margin(worse, 0.3).not_worse and against_margin(worse, 0.3).p_not_better < 0.001


def test_listeners_needed_as_in_cohens_tables():
    # Medium effect (d = 0.5), alpha 0.05, power 0.80: 34 pairs two-sided, 27 one-sided.
    assert listeners_needed(Spread(1.0), 0.5, aim="difference") == 34
    assert listeners_needed(Spread(1.0), 0.5) == 27
    assert power(34, Spread(1.0), 0.5, aim="difference") == pytest.approx(0.808, abs=0.002)


def test_power_is_what_simulated_tests_reach():
    random, spread = np.random.default_rng(5), Spread(0.5)
    shown = 0
    for _ in range(1500):
        differences = 0.5 * random.standard_normal((12, 1))
        shown += against_margin(estimate(differences), 0.3).not_worse
    assert shown / 1500 == pytest.approx(power(12, spread, 0.3), abs=0.04)


def test_clips_can_be_too_few():
    assert listeners_needed(Spread(0.5, 0.6, 6), 0.3) is None
    assert listeners_needed(Spread(0.5, 0.2, 12), 0.3) > listeners_needed(Spread(0.5), 0.3)
    assert listeners_needed(Spread(0.5), 0.3, true=-0.4) is None
    for bad in ((0.0,), (1.0, 0.5), (math.nan,), (1.0, -1.0, 3)):
        with pytest.raises(ValueError, match="standard deviation"):
            Spread(*bad)
    with pytest.raises(ValueError, match="margin"):
        against_margin(estimate(SHROUT), 0)
