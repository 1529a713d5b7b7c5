"""Every error that edgefoley raises on purpose, in one tree.

    EdgeFoleyError                 exit code 1
    ├── UsageError                 2   a flag or argument has no sensible meaning
    ├── MediaError                 3   the clip cannot be read or written
    │   ├── MediaReadError             missing, empty, corrupt, no permission
    │   ├── NoVideoStreamError         a readable file without pictures
    │   └── OutputError                target exists, folder missing, disk full, no permission
    ├── BundleError                4   a model bundle is missing, damaged or of another schema
    │   ├── BundleNotFoundError
    │   └── BundleIntegrityError       sha256, size, schema or tensor names do not match
    ├── BackendError               5   an inference engine is missing or failed
    │   └── BackendUnavailableError    not installed: the message holds the install command
    └── NumericError               6   a network produced NaN or infinity

Messages say what was asked, what is wrong and what to do. Errors of libraries are mapped to this tree where
they cross into ours, with ``raise ... from``.
"""

from __future__ import annotations


class EdgeFoleyError(Exception):
    """Base of the tree; ``exit_code`` is what the command line returns."""

    exit_code = 1


class UsageError(EdgeFoleyError):
    """An argument is out of range, unknown, or contradicts another one."""

    exit_code = 2


class MediaError(EdgeFoleyError):
    """A clip cannot be read or a result cannot be written."""

    exit_code = 3


class MediaReadError(MediaError):
    """The input is missing, empty, corrupt or not permitted."""


class NoVideoStreamError(MediaError):
    """The input is readable but holds no pictures."""


class OutputError(MediaError):
    """The output cannot be written: it exists, its folder is missing, the disk is full, or it is not
    permitted."""


class BundleError(EdgeFoleyError):
    """A model bundle is missing, damaged or of another schema."""

    exit_code = 4


class BundleNotFoundError(BundleError):
    """No bundle of that name or in that folder."""


class BundleIntegrityError(BundleError):
    """A file of the bundle differs from its manifest, or the manifest from the schema."""


class BackendError(EdgeFoleyError):
    """An inference engine failed."""

    exit_code = 5


class BackendUnavailableError(BackendError):
    """The engine is not installed; the message holds the command that installs it."""


class NumericError(EdgeFoleyError):
    """A network produced NaN or infinity."""

    exit_code = 6
