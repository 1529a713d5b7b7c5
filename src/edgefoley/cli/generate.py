"""``edgefoley generate``: add sound effects to videos."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from edgefoley import api, media, targets
from edgefoley.cli.main import show_error
from edgefoley.cli.options import Moment, generation_options, settings_of, tell_plan
from edgefoley.cli.progress import Course, announce, reporter
from edgefoley.cli.report import Talk, collected, echo_json, error_json, show_takes
from edgefoley.errors import EdgeFoleyError, MediaReadError, UsageError
from edgefoley.event_files import read_event_file
from edgefoley.expected import expected, remember, run_of
from edgefoley.pipeline import Pipeline
from edgefoley.plan import Plan, Run
from edgefoley.settings import MIN_HEIGHT, SettingValues, exact
from edgefoley.source import excerpt

EPILOG = """\b
Examples:
  edgefoley generate clip.mp4
  edgefoley generate clip.mp4 -p "footsteps on gravel" --seed 7
  edgefoley generate clip.mp4 -p "打字声" --takes 3 -o results/
  edgefoley generate clip.mp4 -o sound.wav --start 1:05 --end 1:12.5
  edgefoley generate clip.mp4 --original mix --loudness -20 -o out.mp4
  edgefoley generate holiday/ -p "waves" -o results/ --json > results.jsonl
  edgefoley events clip.mp4 --json -o e.json    # then edit e.json, and
  edgefoley generate clip.mp4 --events e.json --seed 7
  edgefoley generate clip.mp4 --seed 7 --offset-ms -40    # the same sound 40 ms earlier
"""


@dataclass(frozen=True)
class Job:
    """One input and where its results go, or the reason why it cannot be used."""

    video: Path
    output: str = ""
    error: EdgeFoleyError | None = None


@click.command(name="generate", epilog=EPILOG)
@click.argument(
    "videos", metavar="VIDEO...", nargs=-1, required=True, type=click.Path(readable=False, path_type=Path)
)
@click.option(
    "-p",
    "--prompt",
    default="",
    metavar="TEXT",
    help="What is heard, in English or Chinese. Default: what the picture suggests.",
)
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    help="A folder for both results, or one file: .wav for the sound only, .mp4, .m4v, .mov or .mkv for "
    "the video only. Several inputs need a folder. Default: next to each video.",
)
@click.option("--start", type=Moment(), metavar="S", help="Begin here, in seconds or as 1:02.5.")
@click.option(
    "--end",
    type=Moment(),
    metavar="S",
    help="Stop here. The WAV holds this excerpt only; the video stays whole, without new sound elsewhere.",
)
@click.option(
    "--original",
    type=click.Choice(["keep", "replace", "mix", "duck"]),
    default="keep",
    show_default=True,
    help="The video's own sound. keep: as second track; replace: dropped; mix: added to the new sound; "
    "duck: lowered under the new sound and added. The WAV holds the new sound alone in every case.",
)
@click.option(
    "--max-height",
    type=click.IntRange(min=MIN_HEIGHT),
    metavar="N",
    help="Videos higher than N pixels are decoded with less care (H.264: no deblocking), which saves about a "
    "seventh of the reading; the encoders see pictures of 224 pixels at most in any case.",
)
@click.option(
    "--events",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What sounds when: an edited list of `edgefoley events` (JSON or CSV) in place of what the model "
    "sees. For one video; all takes share it.",
)
@click.option(
    "--offset-ms",
    type=float,
    default=0.0,
    show_default=True,
    metavar="N",
    help="Move all of the new sound by N milliseconds, exactly: positive is later, negative earlier. It "
    "stays as long as the video; what it leaves is silent.",
)
@generation_options
def command(videos: Sequence[Path], output: str | None, quiet: bool, as_json: bool, **flags: Any) -> int:
    """Add synchronised sound effects to each VIDEO (files or folders).

    Writes NAME.foley.wav (24 bit, 48 kHz, as long as the video) and NAME.foley.mp4 (pictures copied; .mkv
    where MP4 cannot hold them). Further takes are NAME.foley.take2.wav and so on. Prints the paths on stdout.

    A folder stands for the videos directly in it, never for edgefoley's own `*.foley.*` files. Existing files
    are not replaced without --overwrite. With several inputs one failure does not stop the others; the exit
    code is that of the first failure.
    """
    settings = settings_of(flags)
    if (
        output is not None
        and output.lower().endswith(targets.SOUND_TARGET)
        and settings["original"] != "keep"
    ):
        raise UsageError(f"--original {settings['original']} changes the video, but -o {output} writes none.")
    jobs = plan_jobs(videos, output, settings)
    if settings["events"] is not None:
        if len(jobs) > 1:
            raise UsageError(
                f"--events {settings['events']} belongs to one video, but there are {len(jobs)}; run them "
                "one by one, each with its own list."
            )
        settings["events"] = read_event_file(settings["events"])
    failures: list[Job] = []
    with Pipeline.open(
        flags["model"], flags["backend"], flags["threads"], memory_limit=flags["memory_limit"]
    ) as pipeline:
        for number, job in enumerate(jobs, 1):
            title = job.video.name if len(jobs) == 1 else f"[{number}/{len(jobs)}] {job.video.name}"
            try:
                run_job(job, pipeline, flags["prompt"], settings, Talk(title, quiet, as_json))
            except EdgeFoleyError as error:
                failures.append(Job(job.video, job.output, error))
                show_error(error)
                if as_json:
                    echo_json(error_json(job.video, error))
    return conclude(failures, len(jobs))


def plan_jobs(videos: Sequence[Path], output: str | None, settings: SettingValues) -> list[Job]:
    """One job per video; a missing file or a folder without videos becomes a job that fails in its turn.

    Raises UsageError or OutputError when any result could not be written.
    """
    if output is not None and len(videos) > 1 and not targets.is_folder(output):
        raise UsageError(
            f"-o {output} is one file, but there are several inputs; give a folder (for example out/)."
        )
    jobs = [job for video in videos for job in _jobs_of(video, output)]
    if output is not None and len(jobs) > 1 and not targets.is_folder(output):
        raise UsageError(f"-o {output} is one file, but there are {len(jobs)} videos; give a folder.")
    # `edgefoley generate *.mp4` a second time: the shell names our own results too.
    fresh = [job for job in jobs if not targets.is_own_output(job.video)]
    if not fresh:
        raise UsageError(
            f"{jobs[0].video} is a result of edgefoley; give the original video, or rename this one."
        )
    for job in jobs:
        if job not in fresh:
            click.echo(f"Skipped {job.video}: it is a result of edgefoley.", err=True)
    planned = [
        (job.video, targets.plan(job.output, job.video.stem, settings["takes"]))
        for job in fresh
        if job.error is None
    ]
    targets.check(planned, settings["overwrite"])
    return fresh


def run_job(job: Job, pipeline: Pipeline, prompt: str, settings: SettingValues, talk: Talk) -> None:
    """Make and write the sound of one input; show progress, warnings and results. Raises EdgeFoleyError."""
    if job.error is not None:
        raise job.error
    course = Course(settings["takes"], settings["num_steps"] or pipeline.bundle.defaults.steps)
    tell_plan(pipeline, talk.title, talk.quiet)
    how = pipeline.bundle, pipeline.backend.name, pipeline.graphs.options.threads
    run = expected_run(job.video, pipeline, settings)
    if run is not None and not talk.quiet:
        tell_before(pipeline, f"{talk.title}: {expected(*how, run, settings['takes']).words}.")
    with collected() as notes, reporter(talk.title, course, talk.quiet) as report:
        takes = api.generate(
            job.video, prompt, output=job.output, model=pipeline, on_progress=report, **settings
        )
    if run is not None:
        remember(*how, run, takes[0].foley.stats)
    show_takes(job.video, takes, notes, talk)


def tell_before(pipeline: Pipeline, line: str) -> None:
    """Print ``line`` now, or behind the plan of a run that has one to tell."""
    plan_told = pipeline.on_plan
    if plan_told is None:
        announce(line)
        return

    def both(plan: Plan) -> None:
        plan_told(plan)
        announce(line)

    pipeline.on_plan = both


def expected_run(video: Path, pipeline: Pipeline, settings: SettingValues) -> Run | None:
    """What is to be run, to tell what it will take; None for a video or an excerpt that the run itself will
    refuse."""
    try:
        info = media.probe(video)
        begin, end = excerpt(
            video, info.duration, exact(settings["start"], "start"), exact(settings["end"], "end")
        )
    except EdgeFoleyError:
        return None
    guidance = pipeline.bundle.defaults.guidance_for(settings["guidance_scale"], settings["negative_prompt"])
    return run_of(pipeline.bundle, end - begin, info.size, settings["num_steps"], guidance)


def conclude(failures: Sequence[Job], total: int) -> int:
    """List what failed, when there were several inputs; the exit code is that of the first one, else 0."""
    if failures and total > 1:
        click.echo(f"{len(failures)} of {total} inputs failed:", err=True)
        for job in failures:
            click.echo(f"  {click.format_filename(job.video)}: {type(job.error).__name__}", err=True)
    first = failures[0].error if failures else None
    return 0 if first is None else first.exit_code


def _jobs_of(video: Path, output: str | None) -> list[Job]:
    if not os.path.isdir(video):  # Path.is_dir raises where permission is missing
        return [Job(video, os.fspath(video.parent) if output is None else output)]
    try:
        inside = targets.videos_in(video)
    except OSError as error:
        return [Job(video, error=MediaReadError(f"{video}: the folder cannot be read ({error.strerror})"))]
    if not inside:
        known = ", ".join(targets.VIDEO_SUFFIXES)
        return [Job(video, error=MediaReadError(f"the folder {video} holds no videos (looked for {known})"))]
    return [Job(path, os.fspath(video) if output is None else output) for path in inside]
