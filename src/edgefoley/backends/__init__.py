"""The inference engines by name. A back end's module is imported when it is asked for, its engine when it
loads."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from edgefoley.backends.base import Backend, LoadOptions, Session
from edgefoley.errors import UsageError

BACKENDS: Mapping[str, tuple[str, str]] = {
    "ort": ("edgefoley.backends.ort", "OrtBackend"),
    "ov": ("edgefoley.backends.ov", "OvBackend"),
    "fake": ("edgefoley.backends.fake", "FakeBackend"),
}

__all__ = ["BACKENDS", "Backend", "LoadOptions", "Session", "backend_names", "get_backend"]


def backend_names() -> tuple[str, ...]:
    """Names that ``get_backend`` knows, for people: without the one that only tests use."""
    return tuple(name for name in BACKENDS if name != "fake")


def get_backend(name: str) -> Backend:
    """The back end called ``name``; whether it is ready, its ``available()`` says. Raises UsageError if
    unknown."""
    if name not in BACKENDS:
        raise UsageError(f"unknown back end {name!r}; known: {', '.join(backend_names())}.")
    module, cls = BACKENDS[name]
    backend: Backend = getattr(import_module(module), cls)()
    return backend
