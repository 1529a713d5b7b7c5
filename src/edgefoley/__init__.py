"""edgefoley: synchronised sound effects for your videos, on the machine you have.

>>> import edgefoley
>>> takes = edgefoley.generate("clip.mp4", "footsteps on gravel", output="results/", seed=7)
>>> takes[0].foley.audio.samples  # float32, 48 000 Hz, as long as the video

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from edgefoley._version import __version__

if TYPE_CHECKING:
    from edgefoley.api import generate, list_models, sound
    from edgefoley.bundle import open_bundle
    from edgefoley.errors import EdgeFoleyError
    from edgefoley.media import probe, read_clip
    from edgefoley.output import write_wav
    from edgefoley.pipeline import Pipeline
    from edgefoley.types import Audio, Clip, Foley, Stats

_HOMES = {
    "generate": "edgefoley.api",
    "sound": "edgefoley.api",
    "list_models": "edgefoley.api",
    "Pipeline": "edgefoley.pipeline",
    "Clip": "edgefoley.types",
    "Audio": "edgefoley.types",
    "Foley": "edgefoley.types",
    "Stats": "edgefoley.types",
    "probe": "edgefoley.media",
    "read_clip": "edgefoley.media",
    "write_wav": "edgefoley.output",
    "open_bundle": "edgefoley.bundle",
    "EdgeFoleyError": "edgefoley.errors",
}

__all__ = [
    "Audio",
    "Clip",
    "EdgeFoleyError",
    "Foley",
    "Pipeline",
    "Stats",
    "__version__",
    "generate",
    "list_models",
    "open_bundle",
    "probe",
    "read_clip",
    "sound",
    "write_wav",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgefoley' has no attribute {name!r}; it offers {', '.join(__all__)}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
