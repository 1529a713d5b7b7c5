"""One whole run under a hard limit of memory: does it end, how long does it take, what does each stage hold?
python benchmarks/memory_limit.py --model DIR --limit 6.5GB 4GB [--memory-limit auto] [--backend ort]

For every limit a process of its own gets a memory control group (cgroup v1 or v2, below the one that this
process is in; needs root) of that size, in which the system kills whoever goes beyond; where none can be
made, RLIMIT_DATA, which bounds anonymous memory alone. It then makes the sound of a rendered 10 s 720p clip.
--memory-limit is what the run is told: "auto" for nine tenths of the limit (pages of the kernel and of files
being written count too), "none" for nothing. --sound leaves the video out, which is quick and has the same
peaks in the stages after encoding. The bundle's files are put out of the page cache first, so that
their pages are charged to the run.

Every 10 ms the process' anonymous memory, its mapped files and their sum are read (/proc/PID/status); the
table has their peaks in each stage. The largest charge of the whole group includes the page cache, which
grows until the group is full and is then given up again. Linux only. Prints a card, the tables, one last line
of JSON. Random weights show memory and speed, never quality.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from speed import render_clip

from edgefoley._version import __version__
from edgefoley.bundle import open_bundle
from edgefoley.errors import EdgeFoleyError
from edgefoley.machine import this_machine
from edgefoley.plan import Plan, parse_size

ROOT = Path("/sys/fs/cgroup")
PERIOD = 0.01
KINDS = {"RssAnon": "anonymous", "RssFile": "files", "VmRSS": "total"}
CHILD = "--child"
PROMPT = "footsteps on gravel"


@dataclass
class Peaks:
    """Megabytes (10^6 bytes) of one stage, and its seconds."""

    stage: str
    seconds: float = 0.0
    peaks: dict[str, float] = field(default_factory=lambda: dict.fromkeys(KINDS.values(), 0.0))


class Group:
    """A memory control group of this process' own group. Raises OSError where none can be made."""

    def __init__(self, limit: int) -> None:
        lines = Path("/proc/self/cgroup").read_text(encoding="ascii").split()
        memory = next((line for line in lines if "memory" in line.split(":")[1].split(",")), None)
        self.version = 1 if memory else 2
        own = (memory or next(line for line in lines if line.startswith("0::"))).split(":", 2)[2].lstrip("/")
        self.folder = (ROOT / "memory" if memory else ROOT) / own / f"edgefoley-{os.getpid()}-{limit}"
        names = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"), ("memory.max", "memory.swap.max")
        self.folder.mkdir()
        try:
            size, swap = (self.folder / name for name in names[self.version - 1])
            size.write_text(str(limit), encoding="ascii")
            if swap.exists():
                swap.write_text(str(limit) if self.version == 1 else "0", encoding="ascii")
        except OSError:
            self.folder.rmdir()
            raise

    def read(self) -> dict[str, Any]:
        """Largest charge in MB."""
        peak = self.folder / ("memory.max_usage_in_bytes" if self.version == 1 else "memory.peak")
        most = int(peak.read_text(encoding="ascii")) / 1e6 if peak.exists() else None
        return {"kind": f"cgroup v{self.version}", "group_mb": most}

    def close(self) -> None:
        for _ in range(100):  # the last process may still be on its way out
            try:
                self.folder.rmdir()
                return
            except OSError:
                time.sleep(0.05)


@contextmanager
def group_of(limit: int) -> Iterator[Group | None]:
    try:
        group = Group(limit)
    except OSError as error:
        print(f"no control group ({error}): RLIMIT_DATA instead", file=sys.stderr)
        yield None
        return
    try:
        yield group
    finally:
        group.close()


def forget(folder: Path) -> None:
    """Put a bundle's files out of the page cache."""
    for path in folder.iterdir():
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(handle)


def child(task: dict[str, Any]) -> None:
    """The run itself: says on stdout when which stage begins."""
    if task["procs"]:
        Path(task["procs"]).write_text(str(os.getpid()), encoding="ascii")
    else:
        resource.setrlimit(resource.RLIMIT_DATA, (task["limit"], task["limit"]))
    from edgefoley import api
    from edgefoley.pipeline import Pipeline

    def say(word: str, **more: Any) -> None:
        print(json.dumps({"stage": word, **more}), flush=True)

    heard: list[str] = []

    def progress(stage: str, fraction: float) -> None:
        if stage not in heard:
            heard.append(stage)
            say(stage)

    def told(plan: Plan) -> None:
        counted: dict[str, float] = {}
        for stage in plan.stages:
            counted[stage.name] = max(stage.total / 1e6, counted.get(stage.name, 0.0))
        say("plan", words=plan.words, counted=counted)

    try:
        with Pipeline.open(
            task["model"], task["backend"], task["threads"], memory_limit=task["memory_limit"]
        ) as pipeline:
            pipeline.on_plan = told
            settings: Any = {
                "output": task["out"], "model": pipeline, "seed": 1, "on_progress": progress,
                "num_steps": task["steps"], "guidance_scale": task["guidance"], "overwrite": True,
            }  # fmt: skip
            if task["sound"]:
                takes = api.sound(PROMPT, task["sound"], **settings)
            else:
                takes = api.generate(task["clip"], PROMPT, **settings)
    except EdgeFoleyError as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.exit_code) from error
    say("done", seconds_of_sound=takes[0].foley.audio.seconds)


def status(pid: int) -> dict[str, float]:
    found: dict[str, float] = {}
    try:
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
            name, _, rest = line.partition(":")
            if name in KINDS:
                found[KINDS[name]] = int(rest.split()[0]) * 1024 / 1e6
    except OSError:
        pass
    return found


def watched(process: subprocess.Popen[bytes]) -> tuple[list[Peaks], dict[str, Any]]:
    """Read what the child says and how large it is until it ends."""
    stages, said, start = [Peaks("start")], {}, time.monotonic()
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    rest = b""
    while True:
        ended = process.poll() is not None
        rest += process.stdout.read() or b""
        *lines, rest = rest.split(b"\n")
        now = time.monotonic()
        stages[-1].seconds = now - start
        for message in map(json.loads, lines):
            if message["stage"] in ("plan", "done"):
                said[message.pop("stage")] = message
            else:
                stages.append(Peaks(message["stage"]))
                start = now
        peaks = stages[-1].peaks
        for name, size in status(process.pid).items():
            peaks[name] = max(peaks[name], size)
        if ended:
            return stages, said
        time.sleep(PERIOD)


def measured(limit: int, arguments: argparse.Namespace, clip: Path, work: Path) -> dict[str, Any]:
    """One run under ``limit`` bytes."""
    told = {"auto": limit * 9 // 10, "none": None}.get(arguments.memory_limit, arguments.memory_limit)
    forget(Path(arguments.model))
    with group_of(limit) as group:
        task = {
            "procs": str(group.folder / "cgroup.procs") if group else None, "limit": limit, "clip": str(clip),
            "model": arguments.model, "backend": arguments.backend, "threads": arguments.threads,
            "memory_limit": told, "steps": arguments.steps, "guidance": arguments.guidance, "out": str(work),
            "sound": arguments.seconds if arguments.sound else None,
        }  # fmt: skip
        start = time.monotonic()
        command = [sys.executable, __file__, CHILD, json.dumps(task)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sys.stderr)
        try:
            stages, said = watched(process)
        except BaseException:
            process.kill()
            process.wait()
            raise
        facts = group.read() if group else {"kind": "RLIMIT_DATA"}
    return {
        "limit_mb": limit / 1e6, "told": told, **facts, "code": process.returncode,
        "ended": "killed for memory" if process.returncode == -signal.SIGKILL
        else "finished" if process.returncode == 0 else f"exit code {process.returncode}",
        "seconds": time.monotonic() - start, "plan": said.get("plan"), "done": said.get("done"),
        "stages": [vars(stage) for stage in stages],
    }  # fmt: skip


def show(row: dict[str, Any]) -> None:
    charge = f", largest charge {row['group_mb']:.0f} MB" if row.get("group_mb") else ""
    print(f"\nlimit {row['limit_mb']:.0f} MB ({row['kind']}): {row['ended']}, {row['seconds']:.0f} s{charge}")
    print(f"plan: {row['plan']['words'] if row['plan'] else None}")
    print(f"{'stage':8} {'s':>7} {'anonymous MB':>13} {'files MB':>9} {'total MB':>9}")
    for stage in row["stages"]:
        peaks = stage["peaks"]
        print(
            f"{stage['stage']:8} {stage['seconds']:7.1f} {peaks['anonymous']:13.0f} {peaks['files']:9.0f} "
            f"{peaks['total']:9.0f}",
            flush=True,
        )


def main() -> None:
    if sys.argv[1:2] == [CHILD]:
        child(json.loads(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="folder of a bundle")
    parser.add_argument("--limit", nargs="+", default=["6.5GB"], metavar="SIZE")
    parser.add_argument("--memory-limit", default="auto", metavar="auto|none|SIZE")
    parser.add_argument("--backend", default="ort")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--guidance", type=float, default=4.5)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--sound", action="store_true", help="without a video")
    arguments = parser.parse_args()
    bundle = open_bundle(arguments.model)
    card = {
        "model": f"{bundle.name} {bundle.version}, {bundle.description}", "backend": arguments.backend,
        "threads": arguments.threads, "steps": arguments.steps, "guidance": arguments.guidance,
        "seconds": arguments.seconds, "video": not arguments.sound, "edgefoley": __version__,
        "machine": vars(this_machine()),
        "system": platform.platform(), "load": os.getloadavg(), "date": time.strftime("%Y-%m-%d"),
    }  # fmt: skip
    for name, value in card.items():
        print(f"{name:10} {value}")
    with tempfile.TemporaryDirectory() as folder:
        clip = render_clip(Path(folder) / "clip.mp4", 720, arguments.seconds)
        rows = []
        for text in arguments.limit:
            rows.append(measured(parse_size(text), arguments, clip, Path(folder)))
            show(rows[-1])
    print(json.dumps({"card": card, "rows": rows}, default=str))


if __name__ == "__main__":
    main()
