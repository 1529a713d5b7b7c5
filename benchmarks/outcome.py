"""How a benchmark ends: its result in a file, where one is asked for, and as the last line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def put_out(result: Any, path: Path | None) -> None:
    """Write ``result`` as JSON to ``path`` (None: nowhere), whose folders are made, and print it in one
    line."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))
