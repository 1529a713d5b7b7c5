"""``edgefoley doctor``: can this machine do the main job, and if not, what is to be done?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from edgefoley._version import __version__
from edgefoley.backends import backend_names, get_backend
from edgefoley.backends.threads import default_threads
from edgefoley.bundle import known_bundles, open_bundle
from edgefoley.cli.report import echo_json
from edgefoley.errors import BundleError
from edgefoley.machine import Machine, this_machine

DEFAULT_MODEL, DEFAULT_ENGINE = "nano", "ort"
# Engines that people ask for; saying nothing about them would let them look for a flag that is not there.
NOT_YET = ("tensorrt", "litert")
# Engines by the name that people know them by, where it is not the one of `--backend`; it is their package's.
PACKAGE_OF = {"ov": "openvino"}
PACKAGES = ("numpy", "av", "onnxruntime", "tokenizers", "click")
NEEDED_MB = 700  # what a 10 s clip may take at most

EPILOG = """\b
Examples:
  edgefoley doctor
  edgefoley doctor --json
"""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ``ok`` None: not needed for the main job. ``text`` says what is so
    and, where that is bad, what to do."""

    topic: str
    name: str
    ok: bool | None
    text: str


@click.command(name="doctor", epilog=EPILOG)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool) -> int:
    """Check packages, engines, built-in models (every file's sha256) and this machine.

    The names under "engines" are what `--backend` takes. Only ort is needed; for one that is not installed
    the command that installs it is shown.

    The exit code is 1 when the main job, `edgefoley generate` with the model nano, cannot run here.
    """
    machine = this_machine()
    findings = [*packages(), *engines(), *models(), memory(machine)]
    broken = [finding for finding in findings if finding.ok is False]
    if as_json:
        echo_json(as_object(machine, findings))
        return 1 if broken else 0
    click.echo(f"edgefoley {__version__}")
    click.echo(f"  {machine.system}")
    click.echo(f"  {machine.processor}: {_features(machine)}")
    click.echo(f"  cores this process may use: {machine.cores}, threads by default: {default_threads()}")
    topic = ""
    for finding in findings:
        if finding.topic != topic:
            topic = finding.topic
            click.echo(topic)
        mark = {True: "ok   ", False: "ERROR", None: "-    "}[finding.ok]
        click.echo(f"  {mark} {finding.name}: {finding.text}")
    click.echo("The main job cannot run: see ERROR above." if broken else "Ready: edgefoley generate VIDEO")
    return 1 if broken else 0


def packages() -> Iterator[Finding]:
    """The runtime's packages and their versions; PyAV also with its FFmpeg."""
    for name in PACKAGES:
        try:
            found = version(name)
        except PackageNotFoundError:
            yield Finding("packages", name, False, f"not installed; run: python -m pip install {name}")
            continue
        try:
            extra = _ffmpeg_version() if name == "av" else ""
        except ImportError as error:
            yield Finding("packages", name, False, f"{found} cannot be imported ({error}); reinstall it")
            continue
        yield Finding("packages", name, True, found + extra)


def engines() -> Iterator[Finding]:
    """Each engine: ready, how to get it, or that this version does not have it."""
    for name in backend_names():
        reason = get_backend(name).available()
        needed = name == DEFAULT_ENGINE
        ok = True if reason is None else (False if needed else None)
        yield Finding("engines", name, ok, reason or f"ready{_version_of(name)}")
    for name in NOT_YET:
        if name not in backend_names():
            yield Finding("engines", name, None, "not supported in this version of edgefoley")


def models() -> Iterator[Finding]:
    """Every built-in model, all files read and compared with their sha256."""
    names = known_bundles()
    for name in names:
        try:
            bundle = open_bundle(name)
            bundle.verify()
        except BundleError as error:
            yield Finding("models", name, False if name == DEFAULT_MODEL else None, str(error))
            continue
        size = sum(artefact.bytes for artefact in bundle.files) / 1e6
        yield Finding(
            "models", name, True, f"version {bundle.version}, {size:.1f} MB, {len(bundle.files)} files intact"
        )
    if DEFAULT_MODEL not in names:
        yield Finding("models", DEFAULT_MODEL, False, "is not in this installation; reinstall edgefoley")


def memory(machine: Machine) -> Finding:
    """Whether a 10 s clip fits; a warning only, since systems can swap."""
    total, free = machine.memory_mb, machine.available_mb
    if total is None:
        return Finding("memory", "RAM", None, "unknown on this system")
    words = f"{total:.0f} MB" + ("" if free is None else f", {free:.0f} MB available")
    enough = (total if free is None else free) >= NEEDED_MB
    return Finding("memory", "RAM", True if enough else None,
                   words if enough else f"{words}; a 10 s clip may need {NEEDED_MB} MB")  # fmt: skip


def as_object(machine: Machine, findings: list[Finding]) -> dict[str, Any]:
    """The object that ``--json`` prints."""
    return {
        "edgefoley": __version__,
        "ready": all(finding.ok is not False for finding in findings),
        "machine": asdict(machine),
        "threads": default_threads(),
        "findings": [asdict(finding) for finding in findings],
    }


def _version_of(engine: str) -> str:
    try:
        return f", {PACKAGE_OF[engine]} {version(PACKAGE_OF[engine])}"
    except (KeyError, PackageNotFoundError):  # named like its package; or not installed by pip
        return ""


def _features(machine: Machine) -> str:
    if machine.features is None:
        return "features unknown on this system"
    return " ".join(machine.features) or "none of the features that speed up inference"


def _ffmpeg_version() -> str:
    import av

    major, minor, _ = av.library_versions["libavcodec"]
    return f" (libavcodec {major}.{minor})"
