"""Watch a process from outside: what it says, how much memory it holds at each stage, what energy flows.

Memory is read every ``PERIOD`` seconds from /proc/PID/status (Linux). "anonymous" is what cannot be given up
without swapping: heap and weights that an engine has copied. "total" adds pages of files, which the system
can drop and read again. A peak shorter than the period can be missed; for the total the process itself knows
its exact peak as well, where it may reset it.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edgefoley.bench.power import Sampler
from edgefoley.errors import EdgeFoleyError

PERIOD: Final = 0.01
KINDS: Final = {"RssAnon": "anonymous_mb", "VmRSS": "total_mb"}


class WorkerError(EdgeFoleyError):
    """A process of the benchmark ended without a result."""


@dataclass
class Mark:
    """A stage of a run begins at ``begin`` (seconds since the epoch); ``peaks``: highest readings of memory
    in it, in 10^6 bytes, none where the system does not tell."""

    run: str
    stage: str
    begin: float
    peaks: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Watched:
    """``started``, ``ended``: seconds since the epoch; ``result``: what the process found."""

    result: dict[str, Any]
    marks: tuple[Mark, ...]
    started: float
    ended: float

    def spans(self) -> list[tuple[Mark, float]]:
        """Each mark and the moment at which it is over."""
        ends = [mark.begin for mark in self.marks[1:]]
        return list(zip(self.marks, [*ends, self.ended], strict=True))


def watched(command: Sequence[str], sampler: Sampler | None = None) -> Watched:
    """Run ``command`` to its end. Raises WorkerError with what it said on stderr, or the error that it
    reported, when it failed; the process is ended when this one is interrupted."""
    started = time.time()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        return _follow(process, started, sampler)
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _follow(process: subprocess.Popen[bytes], started: float, sampler: Sampler | None) -> Watched:
    assert process.stdout is not None and process.stderr is not None
    for stream in (process.stdout, process.stderr):
        os.set_blocking(stream.fileno(), False)
    marks, result, problem, rest, errors = [Mark("cold", "start", started)], None, "", b"", b""
    while True:
        over = process.poll() is not None
        rest += process.stdout.read() or b""
        errors += process.stderr.read() or b""
        *lines, rest = rest.split(b"\n")
        for message in map(json.loads, filter(None, lines)):
            result = message.get("result", result)
            problem = message.get("error", problem)
            if "stage" in message and message["stage"] != "start":
                marks.append(Mark(message["run"], message["stage"], message["time"]))
        for name, size in status(process.pid).items():
            marks[-1].peaks[name] = max(marks[-1].peaks.get(name, 0.0), size)
        if sampler is not None:
            sampler.sample(now=over)
        if over:
            break
        time.sleep(PERIOD)
    if result is None:
        words = problem or errors.decode("utf-8", "replace").strip()[-2000:] or "it said nothing"
        raise WorkerError(f"a process of the benchmark ended with exit code {process.returncode}: {words}")
    return Watched(result, tuple(marks), started, time.time())


def status(pid: int) -> dict[str, float]:
    """Memory of a process in 10^6 bytes by kind; empty where the system does not tell, or it has ended."""
    found: dict[str, float] = {}
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return found
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name in KINDS:
            found[KINDS[name]] = int(value.split()[0]) * 1024 / 1e6
    return found
