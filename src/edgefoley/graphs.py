"""The opened graphs of one bundle on one back end: opened when first run, checked against the manifest,
closed by name.

Layer 3: what the pipeline and the velocity field run their components through.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from edgefoley.backends.base import Backend, LoadOptions, Session
from edgefoley.bundle import Bundle, Component
from edgefoley.errors import BundleIntegrityError, NumericError
from edgefoley.memory import give_back
from edgefoley.types import TensorSpec

Arrays = Mapping[str, npt.NDArray]
Pass = tuple[Arrays, Arrays | None]  # feeds, and what stays the same for many runs


class Graphs:
    """Sessions by component name.

    ``keep``: whether graphs stay open when their stage is done. ``streamed``: parts of chains (a chain's name
    stands for all its parts) that are opened, run for every pass and closed again, one after the other, so
    that one part's weights are in memory at a time; they are read once per call of ``run_many``. Neither
    changes a result.
    """

    def __init__(self, bundle: Bundle, backend: Backend, options: LoadOptions) -> None:
        self.bundle, self.backend = bundle, backend
        self.options = replace(options, full_range=options.full_range and bundle.full_range)
        self.keep = True
        self.streamed: frozenset[str] = frozenset()
        self._sessions: dict[str, Session] = {}
        self._bound: dict[str, Arrays] = {}

    def run(self, component: str, feeds: Arrays, constants: Arrays | None = None) -> dict[str, npt.NDArray]:
        """Run ``component``. Feeds that its graph does not take are left out (see ``manifest.CONTRACT``).

        ``constants`` are bound, and bound again only when another mapping comes. Raises NumericError when an
        output is not finite.
        """
        return next(iter(self.run_many(component, [(feeds, constants)])))

    def run_many(self, component: str, passes: Iterable[Pass]) -> Iterator[dict[str, npt.NDArray]]:
        """Run ``component`` for every (feeds, constants) of ``passes``; yields the outputs in order.

        A graph of its own takes one pass after the other from ``passes``. Of a chain each part runs all
        passes before the next part does, so every pass is in memory at once. Raises as ``run`` does.
        """
        if self.bundle.components[component].parts:
            yield from self._run_chain(self.bundle.components[component], list(passes))
        else:
            for feeds, constants in passes:
                yield self._run_graph(component, feeds, constants)

    def _run_chain(self, chain: Component, passes: list[Pass]) -> list[dict[str, npt.NDArray]]:
        components = self.bundle.components
        values = [{**(constants or {}), **feeds} for feeds, constants in passes]
        for index, name in enumerate(chain.parts):
            later = set(chain.outputs).union(*(components[part].inputs for part in chain.parts[index + 1 :]))
            for number, value in enumerate(values):
                value = {**value, **self._run_graph(name, value, None)}
                values[number] = {key: array for key, array in value.items() if key in later}
            if name in self.streamed or chain.name in self.streamed:
                self.close([name])
        return [{key: value[key] for key in chain.outputs} for value in values]

    def _run_graph(self, component: str, feeds: Arrays, constants: Arrays | None) -> dict[str, npt.NDArray]:
        session = self._session(component)
        taken = session.inputs
        if constants is not None and self._bound.get(component) is not constants:
            session.bind({name: array for name, array in constants.items() if name in taken})
            self._bound[component] = constants
        outputs = session.run({name: array for name, array in feeds.items() if name in taken})
        for name, array in outputs.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise NumericError(
                    f"the {component!r} network of model {self.bundle.name!r} put out NaN or infinity "
                    f"in {name!r}. No sound was made; try another seed or prompt, "
                    "and please report what you ran."
                )
        return outputs

    def done(self, *components: str) -> None:
        """A stage needs these no more: close them unless graphs are to stay open."""
        if not self.keep:
            self.close(components)

    def close(self, components: Iterable[str] | None = None) -> None:
        """Free the named graphs, of chains all parts (None: all); they are opened again when they are next
        run."""
        named = list(self._sessions) if components is None else list(components)
        parts = [self.bundle.components[name].parts or (name,) for name in named]
        for name in (part for each in parts for part in each):
            self._bound.pop(name, None)
            session = self._sessions.pop(name, None)
            if session is not None:
                session.close()
                give_back()

    @property
    def opened(self) -> tuple[str, ...]:
        """Components that are open now."""
        return tuple(self._sessions)

    def _session(self, name: str) -> Session:
        if name not in self._sessions:
            path = self.bundle.artefact(name, self.backend.name)
            session = self.backend.load(path, self.options)
            try:
                _check_specs(self.bundle.components[name], session)
            except BundleIntegrityError:
                session.close()
                raise
            self._sessions[name] = session
        return self._sessions[name]


def _check_specs(component: Component, session: Session) -> None:
    """The graph has the tensors that the manifest promises."""
    sides = (("inputs", component.inputs, session.inputs), ("outputs", component.outputs, session.outputs))
    for side, promised, found in sides:
        if set(promised) != set(found):
            raise BundleIntegrityError(
                f"the graph of {component.name!r} has the {side} {sorted(found)}, "
                f"the manifest says {sorted(promised)}."
            )
        for name, spec in promised.items():
            if not _agree(spec, found[name]):
                raise BundleIntegrityError(
                    f"the graph of {component.name!r} has {found[name]}, the manifest says {spec}."
                )


def _agree(promised: TensorSpec, found: TensorSpec) -> bool:
    """Same type, rank and fixed sizes; an axis that one side leaves free fits any size."""
    return (
        promised.dtype == found.dtype
        and len(promised.shape) == len(found.shape)
        and all(
            a == b or isinstance(a, str) or isinstance(b, str)
            for a, b in zip(promised.shape, found.shape, strict=True)
        )
    )
