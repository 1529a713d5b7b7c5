"""Lists of events and the curve that they are to the model: there and back, edited, and heard."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from edgefoley import api, event_files, events
from edgefoley.errors import UsageError
from edgefoley.event_files import parse_csv, parse_json, read_event_file, to_csv, to_json
from edgefoley.events import Event, EventList, draw_curve, read_curve, with_events
from edgefoley.media import MediaWarning, read_clip
from edgefoley.pipeline import Pipeline
from edgefoley.soundtrack import moved
from edgefoley.types import Audio, Clip, Conditioning, VideoInfo

EXAMPLE = Path(__file__).parent.parent / "examples" / "bouncing_ball.mp4"
RATE = 48_000
FRAMES = 100
SECONDS = Fraction(FRAMES, 25)


def conditioning(feat: np.ndarray, logits: np.ndarray | None = None) -> Conditioning:
    told = None if logits is None else logits[None].astype(np.float32)
    return Conditioning(Fraction(len(feat), 25), None, None, None, feat[None], told)


def drawn(found: EventList, activity: np.ndarray | None = None, frames: int = FRAMES) -> np.ndarray:
    rows = np.array([(e.time_s, e.confidence, e.strength) for e in found.events]).reshape(-1, 3)
    quiet = np.zeros(2 * frames, np.float32) if activity is None else activity
    return draw_curve(rows[:, 0], rows[:, 1], rows[:, 2], quiet, frames)


def some_events(rng: np.random.Generator, gap: int) -> EventList:
    """Events on the grid, at least ``gap`` places apart, anywhere from the first place to the last."""
    places = np.cumsum(rng.integers(gap, gap + 9, 40)) - gap
    chosen = [int(place) for place in places if place < 2 * FRAMES]
    return EventList(
        tuple(Event(p / 50, float(rng.uniform(0.05, 1)), float(rng.uniform(0.03, 1))) for p in chosen)
    )


def clip_of(start: float = 0, seconds: float = 4, whole: float = 10) -> Clip:
    info = VideoInfo(Path("clip.mp4"), Fraction(whole), Fraction(25), (64, 48), 0, "h264", None)
    return Clip(info, Fraction(start), Fraction(seconds), {})


# --- there and back


@pytest.mark.parametrize("seed", range(5))
def test_what_was_drawn_is_read(seed: int) -> None:
    rng = np.random.default_rng(seed)
    told, activity = some_events(rng, 4), rng.random(2 * FRAMES).astype(np.float32)
    feat = drawn(told, activity)
    found = read_curve(conditioning(feat))
    assert [e.time_s for e in found.events] == pytest.approx([e.time_s for e in told.events])
    assert [e.strength for e in found.events] == pytest.approx([e.strength for e in told.events], abs=1e-6)
    assert [e.confidence for e in found.events] == pytest.approx(
        [e.confidence for e in told.events], abs=1e-6
    )
    assert np.array_equal(drawn(found, found.activity), feat)


@pytest.mark.parametrize("gap", [2, 3])
def test_crowded_events_give_the_same_curve_again(gap: int) -> None:
    """Bumps that touch hide each other in part; what is left is read and drawn exactly."""
    for seed in range(20):
        feat = drawn(some_events(np.random.default_rng(seed), gap))
        again = drawn(read_curve(conditioning(feat)))
        assert np.array_equal(again[:, [0, 1, 3]], feat[:, [0, 1, 3]])


def test_first_and_last_place_and_no_event_at_all() -> None:
    for times in ([0.0], [(2 * FRAMES - 1) / 50], []):
        feat = drawn(EventList(tuple(Event(time, 0.4, 0.9) for time in times)))
        found = read_curve(conditioning(feat))
        assert [e.time_s for e in found.events] == pytest.approx(times)
        assert np.array_equal(drawn(found), feat)


def test_times_are_refined_between_the_places_of_the_grid() -> None:
    """A parabola's top is found where it is, but never so far that the event would change its place."""
    for true in (1.0, 1.003, 0.9935, 1.0088):
        logits = 3 - 2000 * (np.arange(2 * FRAMES) / 50 - true) ** 2
        feat = drawn(EventList((Event(1.0, 0.5, 0.8),)))
        (found,) = read_curve(conditioning(feat, logits)).events
        assert found.time_s == pytest.approx(true, abs=1e-4)
        assert round(found.time_s * 50) == round(round(found.time_s, 3) * 50) == 50
    slope = np.arange(2 * FRAMES, dtype=float)  # no top at all
    (found,) = read_curve(conditioning(feat, slope)).events
    assert round(found.time_s * 50) == 50


def test_the_probability_is_the_graphs_own_function_of_the_logits() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(-2, 2, 2 * FRAMES).astype(np.float32)
    truth = 1 / (1 + np.exp(-(0.6 * logits.astype(np.float64) + 0.8)))
    places = [20, 60, 111, 150]
    heights = np.array([truth[place] for place in places])
    feat = draw_curve(np.array(places) / 50, heights, np.ones(4), np.zeros(2 * FRAMES, np.float32), FRAMES)
    found = read_curve(conditioning(feat, logits))
    assert found.probability is not None
    np.testing.assert_allclose(found.probability, truth, atol=1e-4)
    assert found.strength is not None and set(np.flatnonzero(found.strength) - 20) >= {-1, 0, 1}


# --- edited


def encoded(rng: np.random.Generator) -> np.ndarray:
    """sync_feat as an encoder says it: the strength differs between the two frames of an event."""
    feat = drawn(some_events(rng, 5), rng.random(2 * FRAMES).astype(np.float32))
    feat[:, 2] *= rng.uniform(0.9, 1, FRAMES).astype(np.float32)
    return feat


@pytest.mark.parametrize("form", ["json", "csv"])
def test_an_unedited_list_changes_not_one_bit(form: str) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        said = conditioning(encoded(rng), rng.normal(0, 1, 2 * FRAMES))
        text = to_json(read_curve(said), curves=True) if form == "json" else to_csv(read_curve(said))
        back = (parse_json if form == "json" else parse_csv)(text).of_clip(clip_of())
        edited = with_events(said, back)
        assert edited.sync_feat is not None and said.sync_feat is not None
        assert np.array_equal(edited.sync_feat, said.sync_feat)


def test_an_edit_acts_at_its_place_and_nowhere_else() -> None:
    said = conditioning(encoded(np.random.default_rng(3)))
    own = read_curve(said)
    chosen = own.events[5]
    moved_one = replace(chosen, time_s=chosen.time_s + 0.04)
    edits = {
        "deleted": [e for e in own.events if e is not chosen],
        "moved": [moved_one if e is chosen else e for e in own.events],
        "weaker": [replace(e, strength=0.01) if e is chosen else e for e in own.events],
        "surer": [replace(e, confidence=1.0) if e is chosen else e for e in own.events],
    }
    assert said.sync_feat is not None
    for name, edit in edits.items():
        edited = with_events(said, EventList(tuple(edit))).sync_feat
        assert edited is not None
        changed = np.flatnonzero((edited != said.sync_feat).any(axis=(0, 2)))
        assert changed.size, name
        assert np.all(np.abs(changed / 25 - chosen.time_s) <= 0.12), name
    found = read_curve(with_events(said, EventList(tuple(edits["moved"]))))
    assert any(abs(e.time_s - moved_one.time_s) < 0.011 for e in found.events)
    assert not any(abs(e.time_s - chosen.time_s) < 0.011 for e in found.events)


def test_activity_stays_unless_the_list_tells_one() -> None:
    said = conditioning(encoded(np.random.default_rng(4)))
    assert said.sync_feat is not None
    silent = with_events(said, EventList(())).sync_feat
    assert silent is not None
    assert not silent[0, :, :3].any() and np.array_equal(silent[0, :, 3], said.sync_feat[0, :, 3])
    half = with_events(said, EventList((), activity=np.full(2 * FRAMES, 0.5, np.float32))).sync_feat
    assert half is not None
    np.testing.assert_allclose(half[0, :, 3], 0.5, atol=6e-4)  # what is that near was not edited


def test_only_an_event_curve_can_be_edited() -> None:
    features = Conditioning(SECONDS, None, None, None, np.zeros((1, FRAMES, 768), np.float32))
    with pytest.raises(UsageError, match="768 channels"):
        with_events(features, EventList(()))
    with pytest.raises(UsageError, match="no picture"):
        read_curve(replace(features, sync_feat=None))


# --- times of the video, times of the clip


def test_a_list_counts_from_the_videos_beginning() -> None:
    told = EventList((Event(1.0), Event(5.0), Event(6.995), Event(9.9)))
    here = told.of_clip(clip_of(start=4.5, seconds=2.5))
    assert [e.time_s for e in here.events] == pytest.approx([0.5, 2.495])
    assert here.start_s == 0


def test_rounding_never_loses_the_first_event() -> None:
    """Time 1/30 s is written as 0.033."""
    here = EventList((Event(0.033),)).of_clip(clip_of(start=Fraction(1, 30), seconds=1))
    assert [e.time_s for e in here.events] == [0.0]


def test_beyond_the_end_of_the_video() -> None:
    told = EventList((Event(1.0), Event(10.2)), source="e.csv")
    with pytest.raises(UsageError, match=r"e\.csv: the event at 10\.2 s .* clip\.mp4.* 10\.000 s.*remove it"):
        told.of_clip(clip_of())


def test_a_list_of_another_stretch_is_refused() -> None:
    told = EventList((), start_s=1.0, duration_s=3.0, source="e.json")
    assert told.of_clip(clip_of(start=1, seconds=3)).events == ()
    assert told.of_clip(clip_of(start=2, seconds=1)).events == ()
    for start, seconds in ((0, 4), (2, 3), (0.5, 1)):
        with pytest.raises(UsageError, match=r"e\.json is about 1\.000 s to 4\.000 s.*--start and --end"):
            told.of_clip(clip_of(start=start, seconds=seconds))


def test_activity_is_cut_with_the_clip() -> None:
    ramp = np.linspace(0, 1, 200, dtype=np.float32)
    told = EventList((), start_s=1.0, duration_s=4.0, activity=ramp)
    here = told.of_clip(clip_of(start=2, seconds=1)).activity
    assert here is not None
    np.testing.assert_allclose(here, ramp[50:100], atol=1e-6)
    whole = told.of_clip(clip_of(start=1, seconds=4)).activity
    assert np.array_equal(whole, ramp)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((float("nan"),), "time_s is nan"),
        ((-0.1,), "0 or more"),
        ((1.0, 1.2), "strength is 1.2; it goes from 0 to 1"),
        ((1.0, 0.5, -0.1), "confidence is -0.1"),
    ],
)
def test_an_event_has_ranges(values: tuple[float, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Event(*values)


# --- files


def test_json_and_csv_hold_the_list() -> None:
    told = EventList((Event(2.0, 0.25, 0.5), Event(0.5)), 0.0, 4.0, np.linspace(0, 1, 200, dtype=np.float32))
    back = parse_json(to_json(told, {"video": "雨.mp4"}, curves=True))
    assert [e.time_s for e in back.events] == [0.5, 2.0]
    assert back.events == told.events and (back.start_s, back.duration_s) == (0.0, 4.0)
    assert back.activity is not None and told.activity is not None
    np.testing.assert_allclose(back.activity, told.activity, atol=5.1e-4)
    assert parse_json(to_json(told)).activity is None
    assert parse_csv(to_csv(told)).events == told.events
    assert parse_json(to_json(EventList(()))).events == parse_csv(to_csv(EventList(()))).events == ()


def test_what_a_list_leaves_out() -> None:
    data = '{"format": "edgefoley-events", "version": 1, "events": [{"time_s": 3}, {"time_s": 1.5}]}'
    assert parse_json(data).events == (Event(1.5, 0.6, 1.0), Event(3.0, 0.6, 1.0))
    assert parse_csv("time_s\n3\n\n1.5\n").events == (Event(1.5, 0.6, 1.0), Event(3.0, 0.6, 1.0))
    assert parse_csv("confidence, time_s ,strength\r\n,2,0.1\r\n").events == (Event(2.0, 0.1, 1.0),)


def as_json(rows: str, more: str = "") -> str:
    return f'{{"format": "edgefoley-events", "version": 1{more}, "events": [{rows}]}}'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON: .*line 1"),
        ("[1]", "must be a JSON object.*not a list"),
        ('{"events": []}', '"format" is missing; an event list has "format": "edgefoley-events"'),
        ('{"format": "midi", "version": 1, "events": []}', "\"format\" is 'midi'"),
        ('{"format": "edgefoley-events", "version": 2, "events": []}', '"version" is 2; .* reads 1'),
        ('{"format": "edgefoley-events", "version": true, "events": []}', '"version" is True'),
        ('{"format": "edgefoley-events", "version": 1}', '"events" is missing'),
        ('{"format": "edgefoley-events", "version": 1, "events": {}}', "an object; it must be a list"),
        (as_json("", ', "evnts": []'), "unknown name 'evnts'; known are"),
        (as_json('{"time_s": 1}, {"strength": 0.5}'), "event 2 of 2 has no time_s"),
        (as_json('{"time_s": 1, "strenght": 0.5}'), "event 1 of 1 has the unknown name 'strenght'"),
        (as_json("1.5"), "event 1 of 1 is the number 1.5"),
        (as_json('{"time_s": NaN}'), "event 1 of 1: time_s is nan; it must be a finite"),
        (as_json('{"time_s": 1e999}'), "time_s is inf"),
        (as_json('{"time_s": "1"}'), "time_s is the text '1'; it must be a number"),
        (as_json('{"time_s": null}'), "time_s is null"),
        (as_json('{"time_s": true}'), "time_s is true or false"),
        (as_json('{"time_s": 1}, {"time_s": -1}'), "event 2 of 2: time_s is -1; .*0 or more"),
        (as_json('{"time_s": 1, "strength": 1.5}'), "event 1 of 1: strength is 1.5; .* 0 to 1"),
        (as_json('{"time_s": 1, "confidence": -0.5}'), "confidence is -0.5"),
        (as_json('{"time_s": 7}', ', "duration_s": 6'), "time_s is 7, outside the 0 s to 6 s"),
        (as_json('{"time_s": 1}', ', "start_s": 2, "duration_s": 6'), "outside the 2 s to 8 s"),
        (as_json("", ', "duration_s": 0'), "duration_s above 0"),
        (as_json("", ', "start_s": -1'), "start_s must be 0 or more"),
        (as_json("", ', "activity": [0.1]'), "activity needs duration_s"),
        (as_json("", ', "duration_s": 2, "activity": [0.1]'), "has 1 numbers; 2 s need 50 per second, 100"),
        (as_json("", ', "duration_s": 0.02, "activity": [1.1]'), "within 0 … 1"),
        (as_json("", ', "duration_s": 0.02, "activity": ["a"]'), "activity: number 1 is the text 'a'"),
        (as_json("", ', "duration_s": 1, "activity": 3'), "the number 3; it must be a list"),
    ],
)
def test_faults_of_json(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        parse_json(text, "e.json")
    assert str(caught.value).startswith("e.json")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty; its first line must be time_s,strength,confidence"),
        ("1.0,0.5,0.5\n", "line 1 is '1.0,0.5,0.5', but a list begins with the header"),
        ("time_s;strength\n1;0.5\n", "commas between"),
        ("time_s,power\n1,0.5\n", "begins with the header"),
        ("time_s,time_s\n1,1\n", "begins with the header"),
        ("time_s,strength\n1,0.5\n2\n", "line 3 has 1 values, the header 2"),
        ("time_s,strength\n1,0.5\n,0.5\n", "line 3 has no time_s"),
        ("time_s,strength\n1,loud\n", "line 2: strength is the text 'loud'"),
        ("time_s\n1\n\nnan\n", "line 4: time_s is nan"),
        ("time_s\n-1\n", "line 2: time_s is -1"),
        ("time_s,strength\n1,1.01\n", "line 2: strength is 1.01"),
        ('time_s\n"1\n', "not CSV"),
    ],
)
def test_faults_of_csv(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        parse_csv(text, "e.csv")
    assert str(caught.value).startswith("e.csv")


def test_files_are_told_apart_and_unreadable_ones_refused(tmp_path: Path) -> None:
    told = EventList((Event(1.0),), 0.0, 4.0)
    for name, text in (("a.json", to_json(told)), ("b.csv", "\ufeff" + to_csv(told)), ("c", to_json(told))):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        found = read_event_file(path)
        assert found.events == told.events and found.source == str(path)
    (tmp_path / "d.csv").write_bytes(b"\xff\xfe\x00time")
    for name, words in (
        ("missing.json", "No such file"),
        ("d.csv", "not text"),
        (".", "directory|Permission"),
    ):
        with pytest.raises(UsageError, match=f"cannot be read .*(?:{words}).*edgefoley events"):
            read_event_file(tmp_path / name)
    (tmp_path / "e.json").write_text(to_csv(told))
    with pytest.raises(UsageError, match="not valid JSON"):
        read_event_file(tmp_path / "e.json")


def test_a_video_is_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_event_file(EXAMPLE)
    monkeypatch.setattr(event_files, "_LARGEST", 1000)
    with pytest.raises(UsageError, match="too large"):
        read_event_file(EXAMPLE)


# --- the sound moved


@pytest.mark.parametrize("count", [0, 1, 480, -480, 1999, -1999, 2000, -5000])
def test_a_moved_sound_is_the_same_sound_elsewhere(count: int) -> None:
    rng = np.random.default_rng(0)
    samples = rng.uniform(0.5, 1, (2, 2000)).astype(np.float32)
    out = moved(Audio(samples, RATE), count).samples
    assert out.shape == samples.shape and out.dtype == np.float32
    wanted = np.zeros_like(samples)
    if count >= 0:
        wanted[:, count:] = samples[:, : max(0, 2000 - count)]
    else:
        wanted[:, : max(0, 2000 + count)] = samples[:, -count:]
    silent = wanted == 0
    assert not out[silent].any()
    assert np.all(np.abs(out) <= np.abs(wanted))
    inside = np.flatnonzero(~silent[0])[96:-96] if count else np.arange(2000)  # 96 samples are 2 ms
    assert np.array_equal(out[:, inside], wanted[:, inside])
    assert np.array_equal(moved(Audio(samples[0], RATE), count).samples, out[0])


# --- heard: the packaged model


@pytest.fixture(scope="module")
def nano() -> Iterator[Pipeline]:
    pytest.importorskip("onnxruntime")
    with Pipeline.open("nano", threads=2) as pipeline:
        yield pipeline


@pytest.fixture(scope="module")
def ball(nano: Pipeline) -> Conditioning:
    clip = read_clip(EXAMPLE, nano.bundle.views(), end=Fraction(3))
    return nano.encode(clip, "a wooden stick hits a box")


def levels(nano: Pipeline, said: Conditioning, time: float) -> float:
    """dB of the 80 ms after ``time``, with one seed."""
    wave = nano.render(said, seed=1, num_steps=4).audio.samples
    part = wave[int(time * RATE) : int((time + 0.08) * RATE)]
    return 10 * float(np.log10(np.square(part, dtype=np.float64).mean() + 1e-12))


def test_nanos_own_list_is_read_and_drawn_again(ball: Conditioning) -> None:
    assert ball.sync_feat is not None
    own = read_curve(ball)
    frames = ball.sync_feat.shape[1]
    again = drawn(own, own.activity, frames)
    assert np.array_equal(again[:, [0, 1, 3]], ball.sync_feat[0][:, [0, 1, 3]])
    touched = again[:, :2].max(axis=1) > 0
    # the frame of an event itself says its strength; the other one of its bump is about the same
    assert np.abs(again[:, 2] - ball.sync_feat[0, :, 2])[touched].max() < 0.3
    kept = with_events(ball, parse_csv(to_csv(own)).of_clip(clip_of(seconds=3)))
    assert np.array_equal(kept.sync_feat, ball.sync_feat)


def test_deleting_adding_and_moving_an_event_is_heard(nano: Pipeline, ball: Conditioning) -> None:
    own = read_curve(ball)
    chosen = max((e for e in own.events if 1 < e.time_s < 2), key=lambda e: e.confidence)
    assert chosen.time_s == pytest.approx(1.574, abs=0.04), "the contact that the renderer computed"
    rest = tuple(e for e in own.events if abs(e.time_s - chosen.time_s) > 0.1)
    elsewhere = 1.2  # nothing happens there
    edits = {"own": own.events, "deleted": rest, "moved": (*rest, Event(elsewhere, chosen.strength))}
    loud = {
        name: [levels(nano, with_events(ball, EventList(edit)), t) for t in (chosen.time_s, elsewhere)]
        for name, edit in edits.items()
    }
    assert loud["own"][0] > loud["deleted"][0] + 12
    assert loud["moved"][1] > loud["own"][1] + 12
    assert loud["moved"][1] > loud["moved"][0] + 12


def test_find_events_counts_from_the_videos_beginning(nano: Pipeline) -> None:
    whole = api.find_events(EXAMPLE, model=nano, end=3)
    part = api.find_events(EXAMPLE, model=nano, start="1/2", end=3)
    assert (part.start_s, part.duration_s) == (0.5, 2.5)
    for time in (1.574, 2.093):
        for found in (whole, part):
            assert min(abs(e.time_s - time) for e in found.events if e.confidence > 0.3) < 0.04
    assert part.probability is not None and len(part.probability) == 2 * 63  # frames of 2.5 s, at 50 Hz


def test_generate_takes_a_list_a_file_and_says_so(nano: Pipeline, tmp_path: Path) -> None:
    def samples(**settings) -> np.ndarray:
        made = dict(model=nano, seed=3, end=2, num_steps=4, loudness=-36.0, **settings)
        (take,) = api.generate(EXAMPLE, "knock", **made)
        assert take.foley.extra["events"] == record
        return take.foley.audio.samples

    own, path = api.find_events(EXAMPLE, model=nano, end=2), tmp_path / "e.json"
    path.write_text(to_json(EventList((Event(1.0, 1.0), Event(0.4)), 0.0, 2.0)))
    record: str | None = None
    plain = samples()
    record = str(EXAMPLE)
    assert np.array_equal(samples(events=own), plain)
    record = str(path)
    assert not np.array_equal(samples(events=path), plain)
    record = "given"
    with pytest.warns(MediaWarning) as notes:  # one more says that the sound is too quiet for its loudness
        samples(events=EventList((Event(5.0),)))
    assert any("none of its 1 events lies in the clip" in str(note.message) for note in notes)
    with pytest.raises(UsageError, match="same --start and --end"):
        api.generate(EXAMPLE, "knock", model=nano, end=3, events=own)


def test_words_alone_sound_when_the_list_says(nano: Pipeline, tmp_path: Path) -> None:
    """Two lists, one between the times of the other: each is loud at its own."""
    early, late = (0.4, 0.9, 1.4), (0.65, 1.15, 1.65)
    loud = {}
    for name, times in (("early", early), ("late", late)):
        path = tmp_path / f"{name}.csv"
        path.write_text("time_s\n" + "\n".join(map(str, times)))
        for seed in (1, 2):
            (take,) = api.sound(
                "a knock on a wooden door", 2, model=nano, seed=seed, events=path, loudness=-36.0
            )
            wave = take.foley.audio.samples.reshape(-1)
            assert take.foley.extra["events"] == str(path) and wave.size == 2 * RATE
            for asked in early + late:
                part = wave[round((asked - 0.03) * RATE) : round((asked + 0.07) * RATE)]
                level = 10 * np.log10(np.square(part).mean() + 1e-12)
                loud.setdefault((name, asked in times), []).append(level)
    for name in ("early", "late"):
        assert np.median(loud[name, True]) > np.median(loud[name, False]) + 10, loud
    with pytest.raises(
        UsageError, match=r"late\.csv: the event at 1\.15 s .* the sound, which lasts 1\.000 s"
    ):
        api.sound("knock", 1, model=nano, events=tmp_path / "late.csv")


def test_an_unseen_list_is_drawn_as_it_is() -> None:
    words = Conditioning(SECONDS, None, None, None, None, None, timbres=(3,))
    told = EventList((Event(1.0, 0.5, 0.9), Event(2.5)))
    given = events.with_unseen_events(words, told.of_sound(SECONDS))
    assert (
        given.sync_feat is not None and np.array_equal(given.sync_feat[0], drawn(told)) and given.sync_always
    )
    assert not events.with_unseen_events(replace(words, timbres=(3, 4)), told).sync_always
    steady = EventList((), 0.0, 4.0, np.full(2 * FRAMES, 0.7, np.float32))
    made = events.with_unseen_events(words, steady.of_sound(SECONDS)).sync_feat
    assert made is not None and np.allclose(made[..., 3], 0.7) and not made[..., :3].any()


def test_the_confidence_that_counts_adapts_to_the_clip() -> None:
    rule = {"threshold": 0.4, "threshold_least": 0.1, "threshold_spread": 2.0}
    quiet = np.full(500, 0.02)
    clear, faint = quiet.copy(), quiet.copy()
    clear[::50], faint[::50] = 0.9, 0.15
    assert events.likely_confidence(faint, {"threshold": 0.4}) == 0.4
    assert events.likely_confidence(faint, {}) == events.LIKELY
    # By hand: log odds of one in fifty places differ; mean m + s / 50, deviation s sqrt(0.02 * 0.98).
    low, high = math.log(0.02 / 0.98), math.log(0.15 / 0.85)
    level = low + (high - low) * (0.02 + 2 * math.sqrt(0.02 * 0.98))
    assert events.likely_confidence(faint, rule) == pytest.approx(max(0.1, 1 / (1 + math.exp(-level))))
    wide = rule | {"threshold_least": 0.001}
    assert events.likely_confidence(faint, wide) == pytest.approx(1 / (1 + math.exp(-level)))
    assert events.likely_confidence(clear, wide) > events.likely_confidence(faint, wide)
    assert events.likely_confidence(np.full(9, 0.9), rule) == 0.4
    assert events.likely_confidence(np.array([0.0, 1.0] * 9), rule) == 0.4  # certain both ways
    assert events.likely_confidence([], rule) == 0.4
    # What moves all the time has to be surer: a log odd more for every tenth of activity, beyond the limits.
    heed = {"threshold": 0.4, "threshold_activity": 10.0}
    assert events.likely_confidence(faint, heed) == 0.4, "activity is not known"
    assert events.likely_confidence(faint, heed, np.zeros(50)) == 0.4
    surer = events.likely_confidence(faint, heed, [0.1, 0.3])
    assert math.log(surer / (1 - surer)) == pytest.approx(math.log(0.4 / 0.6) + 2.0)
    assert events.likely_confidence(faint, rule | heed, 0.2) == pytest.approx(
        1 / (1 + math.exp(-max(level, math.log(0.1 / 0.9)) - 2.0))
    )


def test_words_of_the_module() -> None:
    """The curve's constants are what training and export use."""
    torch = pytest.importorskip("torch")
    assert torch is not None
    from edgefoley.train import sync_curve

    assert sync_curve.draw_curve is events.draw_curve
    assert (sync_curve.BUMP, sync_curve.LOWEST) == (events.BUMP, events.LOWEST)
