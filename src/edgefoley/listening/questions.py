"""What listeners are asked, on which scale, and what the mean of their answers is called.

Scales and their words are those of ITU-T P.800 (ACR: annex B; DCR: annex D; CCR: annex E) and, for tests with
a reference and anchors beside each other, of ITU-R BS.1534-3 (MUSHRA). Realism, synchrony and clarity are
asked of foley; the recommendations ask for one overall quality.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Method = Literal["acr", "dcr", "ccr", "mushra"]
METHODS: Final[tuple[Method, ...]] = ("acr", "dcr", "ccr", "mushra")


@dataclass(frozen=True)
class Scale:
    """Answers from ``low`` to ``high``. ``labels``: one per grade from the lowest on; of the continuous scale
    (``steps`` False) one per fifth."""

    low: int
    high: int
    labels: tuple[str, ...]
    steps: bool = True

    def holds(self, value: float) -> bool:
        """Whether ``value`` is an answer on this scale."""
        return self.low <= value <= self.high and float(value).is_integer()


@dataclass(frozen=True)
class Question:
    """``key`` names it in files, ``text`` is what the listener reads."""

    key: str
    text: str
    scale: Scale


_QUALITY: Final = Scale(1, 5, ("Bad", "Poor", "Fair", "Good", "Excellent"))
_DEGRADATION: Final = Scale(
    1, 5,
    ("Very annoying", "Annoying", "Slightly annoying", "Audible but not annoying", "Inaudible"),
)  # fmt: skip
_COMPARISON: Final = Scale(
    -3, 3,
    ("Much worse", "Worse", "Slightly worse", "About the same", "Slightly better", "Better", "Much better"),
)  # fmt: skip
_CONTINUOUS: Final = Scale(0, 100, ("Bad", "Poor", "Fair", "Good", "Excellent"), steps=False)

QUESTIONS: Final[dict[Method, dict[str, Question]]] = {
    "acr": {
        "realism": Question("realism", "How real does the sound seem for what you see?", _QUALITY),
        "synchrony": Question("synchrony", "How well does the sound fit the picture in time?", _QUALITY),
        "clarity": Question("clarity", "How clear and free of faults is the sound?", _QUALITY),
        "overall": Question("overall", "How good is the sound overall?", _QUALITY),
    },
    "dcr": {
        "degradation": Question(
            "degradation", "How do you find the second compared with the reference? Its change is …",
            _DEGRADATION,
        ),
    },
    "ccr": {
        "realism": Question("realism", "How real is the second compared with the first?", _COMPARISON),
        "synchrony": Question(
            "synchrony", "How well does the second fit in time compared with the first?", _COMPARISON
        ),
        "clarity": Question("clarity", "How clear is the second compared with the first?", _COMPARISON),
        "overall": Question("overall", "How good is the second compared with the first?", _COMPARISON),
    },
    "mushra": {
        "quality": Question("quality", "How good is each, compared with the reference?", _CONTINUOUS),
        "synchrony": Question(
            "synchrony", "How well does each fit in time, compared with the reference?", _CONTINUOUS
        ),
    },
}  # fmt: skip
DEFAULT_QUESTIONS: Final[dict[Method, tuple[str, ...]]] = {
    "acr": ("realism", "synchrony", "clarity"),
    "dcr": ("degradation",),
    "ccr": ("overall",),
    "mushra": ("quality",),
}
SCORES: Final[dict[Method, str]] = {"acr": "MOS", "dcr": "DMOS", "ccr": "CMOS", "mushra": "MUSHRA score"}
"""What the mean over listeners is called; a number without listeners has none of these names."""

DEFAULT_MARGIN: Final[dict[Method, float]] = {"acr": 0.3, "dcr": 0.3, "ccr": 0.3, "mushra": 6.0}
"""Grades by which a system may be worse before it counts: 0.3 of a five-grade scale, and as much of 0 … 100,
on which a grade is 20 wide."""
