"""Recipes: what they decide, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgefoley.quant.observe import QuantError
from edgefoley.quant.recipe import SCHEMES, Recipe, Scheme, known_recipes, load_recipe

HEAD = 'name = "t"\nversion = 1\nabout = "test"\n'


def toml(tmp_path: Path, text: str) -> Recipe:
    path = tmp_path / "mine.toml"
    path.write_text(HEAD + text)
    return load_recipe(path)


def test_the_packaged_ones_load_and_survive_json() -> None:
    wanted = {"article", "article-mixed", "article-table", "int8", "int8-dynamic", "w8a16", "w4a16",
              "x86-vnni", "x86-avx2", "cortex-a72", "cortex-a76", "tensorrt", "fp32"}  # fmt: skip
    assert set(known_recipes()) == wanted
    for name in known_recipes():
        recipe = load_recipe(name)
        assert recipe.name == name
        assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


@pytest.mark.parametrize("name", sorted({*known_recipes()} - {"article"}))
def test_the_codec_is_never_computed_in_integers(name: str) -> None:
    scheme = load_recipe(name).scheme_of("decoder/any.layer", "matmul")
    assert scheme.scheme in ("fp16", "fp32")


def test_only_the_old_x86_presets_give_up_a_bit() -> None:
    for name in ("x86-vnni", "cortex-a72", "cortex-a76", "tensorrt"):
        assert not load_recipe(name).scheme_of("denoiser/blocks.1.fc1", "matmul").reduce_range
    for name in ("int8", "x86-avx2", "int8-dynamic", "article"):
        assert load_recipe(name).scheme_of("denoiser/blocks.1.fc1", "matmul").reduce_range
    for name in ("cortex-a72", "cortex-a76", "tensorrt"):
        scheme = load_recipe(name).scheme_of("denoiser.03/blocks.1.fc1", "matmul")
        assert (scheme.activation_type, scheme.activation_symmetric) == ("int8", True)


def test_the_first_rule_that_fits_decides(tmp_path: Path) -> None:
    recipe = toml(tmp_path, """
        [defaults]
        activation_type = "int8"
        [default]
        scheme = "fp16"
        [[layers]]
        pattern = "denoiser*/*fc2"
        scheme = "fp32"
        [[layers]]
        pattern = "denoiser*/*"
        scheme = "w8a8-dynamic"
        activation_type = "uint8"
        [[layers]]
        pattern = "*"
        scheme = "w8a8-static"
        kinds = ["product"]
    """)  # fmt: skip
    assert recipe.scheme_of("denoiser.07/a.fc2", "matmul").scheme == "fp32"
    assert recipe.scheme_of("denoiser/a.fc1", "matmul") == Scheme("w8a8-dynamic", activation_type="uint8")
    # A dynamic scheme is not to be had for tables and convolutions, so the rule does not decide them.
    assert recipe.scheme_of("denoiser/a.stem", "conv") == Scheme("fp16", activation_type="int8")
    assert recipe.scheme_of("text/a", "product") == Scheme("w8a8-static", activation_type="int8")
    assert recipe.needs_calibration


def test_products_of_two_inputs_need_a_rule_that_says_so(tmp_path: Path) -> None:
    recipe = toml(tmp_path, '[[layers]]\npattern = "*"\nscheme = "w8a8-static"\n')
    assert recipe.scheme_of("denoiser/attention", "product").scheme == "fp32"


def test_an_unknown_pattern_lists_what_exists(tmp_path: Path) -> None:
    layers = [("denoiser/blocks.0.fc1", "matmul"), ("text/token", "table")]
    recipe = toml(tmp_path, '[[layers]]\npattern = "denoiser/nothing*"\nscheme = "fp16"\n')
    with pytest.raises(QuantError, match=r"(?s)nothing\*.*blocks\.0\.fc1 \(matmul\).*text/token \(table\)"):
        recipe.check_patterns(layers)
    optional = '[[layers]]\npattern = "denoiser/nothing*"\nscheme = "fp16"\noptional = true\n'
    toml(tmp_path, optional).check_patterns(layers)
    kind = toml(tmp_path, '[[layers]]\npattern = "text/*"\nscheme = "w8a8-dynamic"\n')
    with pytest.raises(QuantError, match="text/token"):  # there, but of a kind that the scheme cannot take
        kind.check_patterns(layers)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[default]\nscheme = "int7"', "scheme must be one of w8a8-static"),
        ('[default]\nscheme = "fp16"\ncolour = 1', "unknown keys colour"),
        ('[default]\nscheme = "fp16"\nsmoothing = 2.0', "smoothing from 0 to 1"),
        ('[default]\nscheme = "fp16"\nsmoothing = true', "smoothing must be float"),
        ('[default]\nscheme = "w4a16"\nblock = 7', "block must be one of 16"),
        ('[default]\nscheme = "w8a8-dynamic"\nactivation_granularity = "per_token"', "no kernel"),
        ('[default]\nscheme = "w8a8-static"\nweight_symmetric = false', "symmetric weights"),
        ('[[layers]]\nscheme = "fp16"', "KeyError"),
        ('[[layers]]\npattern = "*"\nscheme = "w4a16"\nkinds = ["conv"]', "not to be had for conv"),
        ('[gate]\nspeed = {denoiser = 2.0}', "unknown keys speed"),
        ('rest = "int8"', "rest must be fp32 or fp16"),
        ("schema = 9", "schema 9"),
        ("[default", "cannot be read"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(QuantError, match=words):
        toml(tmp_path, text)


def test_an_unknown_recipe_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(QuantError, match=r"no recipe 'int9'.*article.*int8-dynamic"):
        load_recipe("int9")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(QuantError, match="no text file"):
        load_recipe(tmp_path / "binary.toml")


def test_every_scheme_says_what_it_is_for() -> None:
    assert all(kinds for kinds in SCHEMES.values())
