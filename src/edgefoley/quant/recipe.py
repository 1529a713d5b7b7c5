"""Recipes: which layer is stored and computed how, as a frozen value read from TOML.

A recipe is a list of rules; the first whose ``pattern`` fits a layer's name, and whose scheme can be had for
a layer of its kind, decides. Layers that none decides get ``default``. Names are ``COMPONENT/LAYER``; ``*``
in a pattern stands for anything, "/" and "." included. A pattern that fits nothing in the bundle is an error
that lists what exists, unless the rule is ``optional`` (the packaged recipes serve several models).

    name = "mine"
    version = 1
    about = "what it is for"
    rest = "fp16"                 # numbers outside layers (biases, norms): "fp32", "fp16"

    [defaults]                    # fields of Scheme that every rule begins with
    activation_type = "uint8"

    [default]                     # the scheme of layers that no rule decides
    scheme = "fp16"

    [[layers]]
    pattern = "denoiser*/*"
    scheme = "w8a8-static"
    kinds = ["matmul"]            # optional: only layers of these kinds

    [gate]                        # a result that misses one is refused
    sqnr_db = {denoiser = 25.0}   # at least
    bytes = {denoiser = 0.27}     # at most, as a share of the weights' bytes in float32

Kinds of layers: "matmul" (MatMul, Gemm), "conv1d" (one group, stride 1: runs as a matrix product), "conv"
(every other convolution), "table" (rows looked up), "product" (both factors depend on the input: attention).
"product" is meant only where a rule lists it.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from edgefoley.quant.observe import METHODS, QuantError

SCHEMA: Final = 1
# Scheme -> kinds of layers that it can be had for.
SCHEMES: Final[Mapping[str, frozenset[str]]] = {
    "w8a8-static": frozenset({"matmul", "conv1d", "conv", "product"}),
    "w8a8-dynamic": frozenset({"matmul", "conv1d"}),
    "w8a16": frozenset({"matmul", "conv1d", "conv", "table"}),
    "w4a16": frozenset({"matmul", "conv1d"}),
    "fp16": frozenset({"matmul", "conv1d", "conv", "table"}),
    "fp32": frozenset({"matmul", "conv1d", "conv", "table"}),
}
MOST_BINS: Final = 16
KINDS: Final = ("matmul", "conv1d", "conv", "table", "product")
COMPUTED: Final = ("w8a8-static", "w8a8-dynamic")  # schemes whose products are of integers
_CHOICES: Final[Mapping[str, tuple[Any, ...]]] = {
    "scheme": tuple(SCHEMES),
    "format": ("qdq", "qoperator"),
    "kernel": ("fold", "nbits"),
    "activation_type": ("uint8", "int8"),
    "activation_granularity": ("per_tensor", "per_token"),
    "activation_range": METHODS,
    "weight_granularity": ("per_tensor", "per_channel"),
    "weight_range": ("minmax", "mse"),
    "block": (16, 32, 64, 128, 256),
}


@dataclass(frozen=True)
class Scheme:
    """What is done to a layer.

    ``scheme``: w8a8-static (ranges of activations from calibration), w8a8-dynamic (measured at every run),
    w8a16 and w4a16 (weights only), fp16 (stored so, computed in float32 on CPUs), fp32. ``format`` of
    w8a8-static: "qdq" (QuantizeLinear and DequantizeLinear around the operator, which engines fuse; the
    output stays float, except of convolutions) or "qoperator" (QLinearMatMul, QLinearConv; the output is
    8-bit too). ``kernel`` of w8a16: "fold" (8 bits in the file, float32 in memory) or "nbits" (MatMulNBits:
    8 bits in memory too, slower on most CPUs; ``block`` inputs share a scale, as in w4a16).

    ``activation_*``, ``weight_*``: type, symmetry, granularity, and how the range is found (``observe``);
    ``percentile`` is that method's. ``reduce_range``: weights with one bit less, for x86 CPUs without VNNI,
    whose kernels add pairs of products in 16 bits.

    Techniques: ``smoothing`` 0 (off) to 1, how much of the channels' differences in activations moves into
    the weights; ``bias_correction``: the mean error of each output channel is taken off; ``bins`` of noise
    levels that have a static range each (``bins``; 1: one range for all), for products with a weight, in qdq;
    ``rotation``: where the layer takes what an attention made, its values' channels are mixed (``rotation``).
    """

    scheme: str = "fp32"
    format: str = "qdq"
    kernel: str = "fold"
    activation_type: str = "uint8"
    activation_symmetric: bool = False
    activation_granularity: str = "per_tensor"
    activation_range: str = "minmax"
    percentile: float = 99.99
    weight_granularity: str = "per_channel"
    weight_symmetric: bool = True
    weight_range: str = "minmax"
    block: int = 32
    reduce_range: bool = False
    smoothing: float = 0.0
    bias_correction: bool = False
    bins: int = 1
    rotation: bool = False

    def __post_init__(self) -> None:
        for key, known in _CHOICES.items():
            if getattr(self, key) not in known:
                raise QuantError(
                    f"{key} must be one of {', '.join(map(str, known))}, not {getattr(self, key)!r}."
                )
        for item in fields(self):
            kind = type(item.default)
            value = getattr(self, item.name)
            if not isinstance(value, (int, float) if kind is float else kind) or (
                kind is not bool and isinstance(value, bool)
            ):
                raise QuantError(f"{item.name} must be {kind.__name__}, not {value!r}.")
        if not 50 < self.percentile <= 100 or not 0 <= self.smoothing <= 1:
            raise QuantError("percentile is above 50 and up to 100, smoothing from 0 to 1.")
        if not 1 <= self.bins <= MOST_BINS:
            raise QuantError(f"bins is from 1 to {MOST_BINS}, not {self.bins}.")
        if self.binned and self.format != "qdq":
            raise QuantError("bins: a qoperator's output has a range too, which has none; use format qdq.")
        if self.activation_granularity == "per_token" and self.scheme in COMPUTED:
            raise QuantError(
                "activations per token: ONNX Runtime has no kernel with a scale per token; use per_tensor."
            )
        if not self.weight_symmetric and self.scheme in COMPUTED:
            raise QuantError(
                f"{self.scheme} needs symmetric weights: a zero point costs a sum over inputs at each run."
            )

    @property
    def static(self) -> bool:
        """Whether ranges of activations come from calibration."""
        return self.scheme == "w8a8-static"

    @property
    def binned(self) -> bool:
        """Whether ranges of activations follow the noise level."""
        return self.static and self.bins > 1

    @property
    def needs_samples(self) -> bool:
        """Whether calibration is needed."""
        asked = self.smoothing > 0 or self.bias_correction or self.rotation
        return self.static or (self.scheme in COMPUTED and asked)


@dataclass(frozen=True)
class Rule:
    """See the module. ``kinds``: of layers it is for."""

    pattern: str
    scheme: Scheme
    kinds: tuple[str, ...]
    optional: bool = False

    def fits(self, name: str, kind: str) -> bool:
        """Whether it decides this layer."""
        return kind in self.kinds and fnmatchcase(name, self.pattern)


@dataclass(frozen=True)
class Recipe:
    """See the module. ``gate``: {"sqnr_db": {component: dB}, "bytes": {component: share}}."""

    name: str
    version: int
    about: str
    rules: tuple[Rule, ...]
    default: Scheme = field(default_factory=Scheme)
    rest: str = "fp32"
    gate: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def scheme_of(self, name: str, kind: str) -> Scheme:
        """What is done to the layer ``name`` of ``kind``."""
        for rule in self.rules:
            if rule.fits(name, kind):
                return rule.scheme
        return Scheme() if kind == "product" else self.default

    def check_patterns(self, layers: Iterable[tuple[str, str]]) -> None:
        """Raise QuantError for a pattern that decides about none of ``layers`` (name, kind), and list them.
        A pattern whose layers earlier rules took is fine."""
        there = list(layers)
        for rule in self.rules:
            if not rule.optional and not any(rule.fits(*layer) for layer in there):
                known = "\n  ".join(f"{name} ({kind})" for name, kind in there)
                raise QuantError(
                    f"recipe {self.name!r}: no layer fits {rule.pattern!r} (kinds {', '.join(rule.kinds)}). "
                    f"The model has:\n  {known}"
                )

    @property
    def needs_calibration(self) -> bool:
        """Whether any scheme needs captured inputs, or the gate the signal-to-noise ratio."""
        schemes = [self.default, *(rule.scheme for rule in self.rules)]
        return any(scheme.needs_samples for scheme in schemes) or bool(self.gate.get("sqnr_db"))

    def to_json(self) -> dict[str, Any]:
        """All of it, for the manifest; ``from_json`` reads it."""
        rules = [
            {"pattern": r.pattern, "kinds": list(r.kinds), "optional": r.optional, **asdict(r.scheme)}
            for r in self.rules
        ]
        return {
            "schema": SCHEMA,
            "name": self.name,
            "version": self.version,
            "about": self.about,
            "rest": self.rest,
            "default": asdict(self.default),
            "layers": rules,
            "gate": {key: dict(value) for key, value in self.gate.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str = "the recipe") -> Recipe:
        """From TOML or a manifest's record. Raises QuantError, which names ``where``."""
        try:
            return cls._read(data)
        except QuantError as error:
            raise QuantError(f"{where}: {error}") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise QuantError(f"{where} is not a recipe: {type(error).__name__} at {error}.") from error

    @classmethod
    def _read(cls, data: Mapping[str, Any]) -> Recipe:
        _only(data, ("schema", "name", "version", "about", "rest", "defaults", "default", "layers", "gate"))
        if data.get("schema", SCHEMA) != SCHEMA:
            raise QuantError(f"it has schema {data['schema']!r}; this version of edgefoley reads {SCHEMA}.")
        common = dict(data.get("defaults", {}))
        rules = tuple(_rule({**common, **entry}) for entry in data.get("layers", ()))
        default = _scheme({**common, "scheme": "fp32", **data.get("default", {})})
        rest = data.get("rest", "fp32")
        if rest not in ("fp32", "fp16"):
            raise QuantError(f"rest must be fp32 or fp16, not {rest!r}.")
        gate = data.get("gate", {})
        _only(gate, ("sqnr_db", "bytes"))
        limits = {key: {name: float(v) for name, v in entry.items()} for key, entry in gate.items()}
        return cls(str(data["name"]), int(data["version"]), str(data["about"]), rules, default, rest, limits)


def _rule(entry: dict[str, Any]) -> Rule:
    pattern, optional = str(entry.pop("pattern")), bool(entry.pop("optional", False))
    kinds = entry.pop("kinds", None)
    scheme = _scheme(entry)
    possible = SCHEMES[scheme.scheme] - ({"conv", "product"} if scheme.binned else set())
    if kinds is None:
        return Rule(pattern, scheme, tuple(k for k in KINDS if k in possible - {"product"}), optional)
    if unknown := [kind for kind in kinds if kind not in possible]:
        raise QuantError(
            f"{pattern!r}: {scheme.scheme}{' with bins' * scheme.binned} is not to be had for "
            f"{', '.join(map(str, unknown))}; "
            f"it is for {', '.join(k for k in KINDS if k in possible)}."
        )
    return Rule(pattern, scheme, tuple(kinds), optional)


def _scheme(entry: Mapping[str, Any]) -> Scheme:
    _only(entry, tuple(item.name for item in fields(Scheme)))
    return Scheme(**entry)


def _only(entry: Mapping[str, Any], known: tuple[str, ...]) -> None:
    if unknown := [key for key in entry if key not in known]:
        raise QuantError(f"unknown keys {', '.join(unknown)}; known: {', '.join(known)}.")


def known_recipes() -> list[str]:
    """Names of the packaged recipes, sorted."""
    return sorted(entry.name[:-5] for entry in _packaged().iterdir() if entry.name.endswith(".toml"))


def load_recipe(name_or_file: str | Path) -> Recipe:
    """A packaged recipe by its name, or any by its file (.toml, or .json as ``to_json`` makes it); a packaged
    name wins. Raises QuantError, with the known names."""
    name = str(name_or_file)
    try:
        if name in known_recipes():
            text, where = (_packaged() / f"{name}.toml").read_text(encoding="utf-8"), f"recipe {name!r}"
        else:
            text, where = Path(name_or_file).read_text(encoding="utf-8"), f"the recipe {name}"
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text file"
        raise QuantError(
            f"no recipe {name!r}: {reason}. Known: {', '.join(known_recipes())}; or give a .toml file."
        ) from error
    try:
        data = json.loads(text) if name.endswith(".json") else tomllib.loads(text)
    except ValueError as error:
        raise QuantError(f"{where} cannot be read: {error}") from error
    return Recipe.from_json(data, where)


def _packaged() -> Any:
    return files("edgefoley.quant") / "recipes"
