"""The report's page in a real browser: both play, one is heard. Skipped where there is no Chromium."""

from __future__ import annotations

import pytest

from edgefoley.evaluation.report import write_report
from edgefoley.evaluation.sides import clips_in
from tests.chromium import browser, open_page
from tests.evaluation.test_evaluation import run

pytestmark = [
    pytest.mark.skipif(browser() is None, reason="no Chromium (apt-get install chromium)"),
    pytest.mark.slow,
]


def test_both_play_and_one_is_heard(scenes, tmp_path):
    clips = clips_in(scenes / "clips")
    page_file = write_report(run(scenes / "a", scenes / "b", scenes / "clips"), clips, tmp_path / "report")
    with open_page(tmp_path / "profile") as page:
        page.go(page_file.as_uri())
        page.run("[window.a, window.b] = document.querySelectorAll('video')")
        page.run("document.querySelector('.clip button').focus()")
        page.press("Enter")  # Both, hear A
        page.wait("a.currentTime > 0.3 && Math.abs(a.currentTime - b.currentTime) < 0.15")
        assert page.run("!a.muted && b.muted")
        pressed = "[...document.querySelectorAll('.clip button')].slice(0, 2).map(x => x.ariaPressed)"
        assert page.run(pressed) == ["true", "false"]
        page.run("document.querySelectorAll('.clip button')[1].click()")
        assert page.run("a.muted && !b.muted")
        page.run("document.querySelectorAll('.clip button')[2].click()")
        assert page.run("a.paused && b.paused && a.currentTime === 0")
        assert page.console == []
