"""The table of published files."""

from __future__ import annotations

import pytest

from edgefoley.convert import sources
from edgefoley.errors import UsageError


@pytest.mark.parametrize("model", ["xl", "xxl"])
def test_every_file_is_fully_described(model: str) -> None:
    files = sources.sources_of(model)
    paths = [file.path for file in files]
    assert set(paths) == {sources.component_path(name, model) for name in sources.COMPONENTS} | {
        "LICENSE",
        "NOTICE",
    }
    assert len(set(paths)) == len(paths)
    for file in files:
        assert file.sha256 is not None and len(file.sha256) == 64 and int(file.sha256, 16)
        assert len(file.revision) == 40 and int(file.revision, 16)
        assert file.bytes > 0 and file.purpose and file.licence.url.startswith("https://")
    assert len({file.sha256 for file in files}) == len(files)


def test_sizes_fit_the_networks() -> None:
    """bytes = numbers * their width + a table of contents; the transformers' files hold a training projector
    h -> 2h -> 2h -> 768 besides."""
    numbers = {"vae": 371_589_058, "synchformer": 237_460_245, "siglip2": 375_823_874}
    for component, count in numbers.items():
        over = sources.published_bytes(component, "xl") - 4 * count
        assert 0 < over < 250_000
    for model, h, count in (("xl", 1408, 2_912_962_688), ("xxl", 1536, 5_134_014_848)):
        projector = 6 * h * h + (2 + 2 + 2 * 768) * h + 768
        assert 0 < sources.published_bytes("transformer", model) - 2 * (count + projector) < 250_000


def test_licences_say_where_the_weights_may_not_be_used() -> None:
    terms = next(file.licence for file in sources.sources_of("xl") if file.path.startswith("hunyuanvideo"))
    assert terms.ask and terms.excluded == ("European Union", "United Kingdom", "South Korea")
    assert sum(file.licence.ask for file in sources.sources_of("xl")) == 4


def test_unknown_models() -> None:
    with pytest.raises(UsageError, match="xl, xxl"):
        sources.sources_of("tiny")
    assert sources.published_bytes("transformer", "tiny") is None
    assert sources.published_bytes("transformer", "xxl") == 10_301_204_679
