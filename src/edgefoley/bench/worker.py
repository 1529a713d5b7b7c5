"""One process of the benchmark: opens one model, makes the sound of one clip twice, and tells how it went.

    python -m edgefoley.bench.worker '{"model": ..., "clip": ..., ...}'

The first clip is the cold one: it includes opening the networks, and together with the start of the process
and its imports, which the parent times, it is what a command costs. The second is warm. On stdout every stage
is announced when it begins, so that the parent knows what the memory it watches belongs to; the last line has
the results. Standard output carries JSON lines only.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from typing import Any, Final

from edgefoley.errors import EdgeFoleyError

ROUNDS: Final = ("cold", "warm")


class Stages:
    """Wall and processor seconds of the stages that ``api`` reports, begun at 0 and ended at 1."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.done: dict[str, dict[str, float]] = {}
        self._open: dict[str, tuple[float, float]] = {}

    def hear(self, stage: str, fraction: float) -> None:
        now = time.perf_counter(), time.process_time()
        if stage not in self._open:
            self._open[stage] = now
            say(run=self.run, stage=stage)
        if fraction >= 1:
            begin = self._open[stage]
            self.done[stage] = {"seconds": now[0] - begin[0], "cpu_seconds": now[1] - begin[1]}


def say(**message: Any) -> None:
    print(json.dumps({"time": time.time(), **message}), flush=True)


def measure(task: dict[str, Any]) -> dict[str, Any]:
    """Both runs. ``task``: model, backend, threads, clip, prompt, num_steps, guidance_scale."""
    from edgefoley import api
    from edgefoley.pipeline import Pipeline

    ready = {"imports_cpu_s": time.process_time()}
    runs = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        Pipeline.open(task["model"], task["backend"], task["threads"]) as pipeline,
    ):
        for run in ROUNDS:
            stages, start, busy = Stages(run), time.perf_counter(), time.process_time()
            takes = api.generate(
                task["clip"], task["prompt"], output=folder, model=pipeline, seed=1, overwrite=True,
                num_steps=task["num_steps"], guidance_scale=task["guidance_scale"], on_progress=stages.hear,
            )  # fmt: skip
            seconds, cpu = time.perf_counter() - start, time.process_time() - busy
            say(run=run, stage="end")
            stats = takes[0].foley.stats
            for stage in stats.stages:  # exact peaks, where the system can reset them
                stages.done[stage.name]["peak_mb"] = stage.peak_rss_mb
            runs[run] = {
                "seconds": seconds, "cpu_seconds": cpu, "audio_seconds": stats.audio_seconds,
                "stages": stages.done,
            }  # fmt: skip
    return {**ready, **runs, "num_steps": takes[0].foley.num_steps, "guidance": takes[0].foley.guidance_scale}


def main() -> None:
    task = json.loads(sys.argv[1])
    say(run="cold", stage="start", pid=os.getpid())
    try:
        say(result=measure(task))
    except EdgeFoleyError as error:
        say(error=str(error), exit_code=error.exit_code)
        raise SystemExit(error.exit_code) from error


if __name__ == "__main__":
    main()
