"""The published files that HunyuanVideo-Foley XL and XXL are made from: where they come from, how to know
them, and on what terms they may be used.

Standard library only: the command line reads this table on machines without torch.

Sizes and sha256: two public manifests of independent projects agree on every file of the transformer, the
DAC-VAE, Synchformer and CLAP; SigLIP2's sha256 is in one of them, its size in two. Revisions are the heads of
the repositories that those manifests name. Nothing of this was checked against the hub itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from edgefoley.errors import UsageError
from edgefoley.hub import Licence, SourceFile

TENCENT: Final = Licence(
    name="Tencent Hunyuan Community License Agreement (28 August 2025)",
    url="https://huggingface.co/tencent/HunyuanVideo-Foley/blob/main/LICENSE",
    terms=(
        "It covers the weights, what is converted or quantised from them, and the sounds they make.",
        "In the excluded territories it gives no rights: there neither the weights nor their sounds may be "
        "used, changed, passed on or shown.",
        "Neither the weights nor their sounds may be used to improve another AI model, save one derived from "
        "these weights.",
        "Who passes converted weights on has to include the agreement and its notice, mark the changes, and "
        "bind the recipients to its rules of use.",
        "More than 100 million monthly users when it was released: ask Tencent first.",
        "Sounds put before the public have to be marked as machine-made; the agreement's list of forbidden "
        "uses applies.",
    ),
    excluded=("European Union", "United Kingdom", "South Korea"),
    ask=True,
)
MIT: Final = Licence(
    name="MIT (Synchformer, Vladimir Iashin), inside Tencent's distribution",
    url="https://huggingface.co/tencent/HunyuanVideo-Foley/blob/main/NOTICE",
    terms=("Free use with the copyright notice; distributed by Tencent together with the files above.",),
)
APACHE: Final = Licence(
    name="Apache License 2.0",
    url="https://www.apache.org/licenses/LICENSE-2.0",
    terms=("Free use, also commercial, with the licence and its notices.",),
)

_FOLEY = ("tencent/HunyuanVideo-Foley", "3abd4e833b95b8db0fc9c687afc52483a48e9a97")
_SIGLIP2 = ("google/siglip2-base-patch16-512", "a89f5c5093f902bf39d3cd4d81d2c09867f0724b")
_CLAP = ("laion/larger_clap_general", "ada0c23a36c4e8582805bb38fec3905903f18b41")

# Component -> its path in a folder of sources. The folder of `models download`, that of `models random` and
# what `models convert` reads have this layout.
PATHS: Final[Mapping[str, str]] = {
    "vae": "vae_128d_48k.pth",
    "synchformer": "synchformer_state_dict.pth",
    "siglip2": "siglip2-base-patch16-512/model.safetensors",
    "clap": "larger_clap_general/pytorch_model.bin",
    "tokenizer": "larger_clap_general/tokenizer.json",
}
TRANSFORMERS: Final[Mapping[str, str]] = {
    "xl": "hunyuanvideo_foley_xl.pth",
    "xxl": "hunyuanvideo_foley.pth",
    "tiny": "hunyuanvideo_foley_tiny.pth",  # never published: random weights for tests
}
COMPONENTS: Final = ("transformer", *PATHS)

_SHARED: Final = (
    SourceFile(
        PATHS["vae"], *_FOLEY, "vae_128d_48k.pth", 1_486_465_965,
        "07e6139ff33bd21ba8a7a7f40ed24aab13ac0d100cd686f8a9f3e03dc5251cb1",
        TENCENT, "DAC-VAE: latents to 48 kHz sound",
    ),
    SourceFile(
        PATHS["synchformer"], *_FOLEY, "synchformer_state_dict.pth", 950_058_171,
        "8aff082f2df5c3bc52759db0c865c7ee772ae6400b860d1b7e90413f2defb67c",
        MIT, "Synchformer: what moves when",
    ),
    SourceFile(
        "LICENSE", *_FOLEY, "LICENSE", 15_544,
        "7334afd50a0fbca64182b5dadd33db5a09dc6c1756034aefba08a23c703c2a5c",
        TENCENT, "the agreement itself",
    ),
    SourceFile(
        "NOTICE", *_FOLEY, "NOTICE", 2_533,
        "974052d83067e4c50314286e7fc7af68dd60edd9adf12cf0592f6f7d8e501901",
        TENCENT, "its notices",
    ),
    SourceFile(
        PATHS["siglip2"], *_SIGLIP2, "model.safetensors", 1_503_344_520,
        "fe0e601c625e69eed8e73500d39e9b6164403fe03db8048e87913c3cefbbb3fe",
        APACHE, "SigLIP2: what the pictures show",
    ),
    SourceFile(
        PATHS["clap"], *_CLAP, "pytorch_model.bin", 776_444_665,
        "314eb00cce6ad68d25237b8446b659ccdb136ed4672c1bca470f142f72455026",
        APACHE, "CLAP: what the prompt says",
    ),
    SourceFile(
        PATHS["tokenizer"], *_CLAP, "tokenizer.json", 2_108_774,
        "dc239041d98de27ffc3975473a1a23e3db4c937b23c138c38bbc66588bd247e5",
        APACHE, "CLAP's tokenizer",
    ),
)  # fmt: skip
SOURCES: Final[Mapping[str, tuple[SourceFile, ...]]] = {
    "xl": (
        SourceFile(
            TRANSFORMERS["xl"], *_FOLEY, "hunyuanvideo_foley_xl.pth", 5_854_140_970,
            "cf7e93dca93063942bc22b53d4fe888e9d9d5a1ad7977873b7b2c6b126cf00ca",
            TENCENT, "the transformer, 2.9 G parameters",
        ),
        *_SHARED,
    ),
    "xxl": (
        SourceFile(
            TRANSFORMERS["xxl"], *_FOLEY, "hunyuanvideo_foley.pth", 10_301_204_679,
            "2900021f8ee562a8175b2f1a3fafb06b9e9e848f11f4c6d4d5d72e126f7c0475",
            TENCENT, "the transformer, 5.1 G parameters",
        ),
        *_SHARED,
    ),
}  # fmt: skip


def sources_of(model: str) -> tuple[SourceFile, ...]:
    """The files of ``model``, the largest first. Raises UsageError for a model that is not published."""
    if model not in SOURCES:
        raise UsageError(f"no model {model!r} is published for download; there are: {', '.join(SOURCES)}.")
    return SOURCES[model]


def published_bytes(component: str, model: str) -> int | None:
    """Size of a component's file as published; None where there is none."""
    path = component_path(component, model)
    return next((file.bytes for file in SOURCES.get(model, ()) if file.path == path), None)


def component_path(component: str, model: str) -> str:
    """Path of a component of ``model`` in a folder of sources."""
    return TRANSFORMERS[model] if component == "transformer" else PATHS[component]
