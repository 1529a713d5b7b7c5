"""README's tables say what benchmarks/results holds, and nothing else."""

from __future__ import annotations

import copy
import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
KINDS = {"en": ("measured", "projected", "published"), "zh": ("实测", "推算", "已发表")}


@pytest.fixture(scope="module")
def tables():
    spec = importlib.util.spec_from_file_location("tables", ROOT / "benchmarks" / "tables.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["tables"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["tables"]


@pytest.fixture
def results(tables):
    return tables.load_results()


def table_rows(lines):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_readme_says_what_the_results_say(tables, results, language):
    text = tables.READMES[language].read_text(encoding="utf-8")
    assert tables.written(text, results, language) == text, "run python benchmarks/tables.py"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_changed_result_changes_the_readme(tables, results, language):
    text, other = tables.READMES[language].read_text(encoding="utf-8"), copy.deepcopy(results)
    other["speed"]["warm"]["seconds"] = 123.4
    made = tables.written(text, other, language)
    assert "123 s" in made and made != text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_was_never_measured_is_unknown_and_nothing_is_left_from_before(tables, language):
    unknown = tables.say("unknown", language)
    for row in table_rows(tables.cost({}, language))[2:] + table_rows(tables.fit({}, language))[2:]:
        assert row[1] == unknown
    assert tables.recipes({}, language) == [unknown]
    for row in table_rows(tables.beside_the_study({}, language))[2:]:
        if row[-1] != tables.say("published", language):
            assert set(row[2:6]) == {unknown}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_row_beside_the_study_says_where_its_figures_are_from(tables, results, language):
    rows = table_rows(tables.beside_the_study(results, language))[2:]
    assert [row[-1] for row in rows].count(KINDS[language][2]) == 3
    assert all(row[-1] in KINDS[language] for row in rows)
    text = "\n".join(tables.beside_the_study(results, language))
    for figure in ("9.8 → 4.6 s", "2100 → 1350 MB", "18.3 → 8.7 s", "6.5 s", "3.4", "1800 → 480 MB"):
        assert figure in text


def test_figures_of_a_recipe_stand_in_its_row(tables):
    interval = {"mean": -0.0123, "low": -0.05, "high": 0.02}
    row = {
        "bytes": 31_400_000, "warm_s": {"least": 1.234, "median": 2}, "warm_cpu_s": {"least": 2.5},
        "peak_mb": {"median": 321.4}, "watts": None,
    }  # fmt: skip
    found = {
        "recipes": {
            "here": {
                "rows": {"fp32": row, "int8": {**row, "watts": 4.25}},
                "card": {"processor": "a processor"}, "energy": {"source": "a sensor"},
            },
            "kept": {"reference": "fp32", "rows": {
                "fp32": {"onset_f1": interval, "kl_yamnet": interval},
                "int8": {"onset_f1": interval, "kl_yamnet": interval, "zimtohrli": {"mean": 4.98}},
            }},
        }
    }  # fmt: skip
    plain, int8 = table_rows(tables.recipes(found, "en"))[2:]
    assert plain == [
        "`fp32`",
        "31.4 MB",
        "1.23 s",
        "2.5 s",
        "321 MB",
        "unknown",
        *["−0.01 [−0.05, 0.02]"] * 2,
        "5",
    ]
    assert int8[5:] == ["4.2 W", *["−0.01 [−0.05, +0.02]"] * 2, "4.98"]


@pytest.mark.parametrize(
    ("value", "words"),
    [(9.8, "9.8"), (18.3, "18.3"), (2100, "2100"), (0.034, "0.034"), (4.0, "4"), (142.4, "142")],
)
def test_numbers_have_three_figures_and_no_idle_zeros(tables, value, words):
    assert tables.number(value) == words


def test_a_readme_without_a_block_is_refused(tables, results):
    with pytest.raises(ValueError, match="'cost' is there 0 times"):
        tables.written("no blocks", results, "en")
