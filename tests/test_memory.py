"""Stages have their own time and, where the system allows it, their own peak memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgefoley import memory
from edgefoley.backends import threads
from edgefoley.memory import Stopwatch, most_living, peak_rss_mb, reset_peak_rss

STAGES = """
import json, time
import numpy as np
from edgefoley.memory import Stopwatch

watch = Stopwatch()
with watch.stage("large"):
    block = np.ones(120_000_000, dtype=np.uint8)
    time.sleep(0.02)
    del block
with watch.stage("small"):
    pass
stages = watch.stages
print(json.dumps([[s.name for s in stages], [s.seconds for s in stages], [s.peak_rss_mb for s in stages]]))
"""


def test_peak_sees_what_was_touched() -> None:
    before = peak_rss_mb()
    block = np.ones(60_000_000, dtype=np.uint8)
    assert peak_rss_mb() > before + 30 or before > block.nbytes / 1e6  # a peak from earlier may lie higher


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process reset its peak")
def test_each_stage_has_its_own_peak() -> None:
    if not reset_peak_rss():
        pytest.skip("this system does not let a process reset its peak")
    # In a process of its own: allocators of other libraries keep freed blocks, which hides the peak.
    done = subprocess.run([sys.executable, "-c", STAGES], capture_output=True, text=True, check=True)
    names, seconds, peaks = json.loads(done.stdout)
    assert names == ["large", "small"]
    assert seconds[0] >= 0.02
    assert peaks[0] > peaks[1] + 100


def test_a_stage_that_raises_is_counted() -> None:
    watch = Stopwatch()
    with pytest.raises(KeyError), watch.stage("broken"):
        raise KeyError
    assert [stage.name for stage in watch.stages] == ["broken"]


def test_default_threads_respect_affinity_siblings_and_quota(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert 1 <= threads.default_threads() <= (os.cpu_count() or 1)
    monkeypatch.setattr(threads, "_quota", lambda: None)
    monkeypatch.setattr(threads, "_allowed_cpus", lambda: {0, 1, 2, 3})
    monkeypatch.setattr(threads, "_siblings", lambda cpu: f"{cpu % 2},{cpu % 2 + 2}")
    assert threads.default_threads() == 2  # four hyper-threads on two cores
    monkeypatch.setattr(threads, "_siblings", str)
    assert threads.default_threads() == 4
    monkeypatch.setattr(threads, "_quota", lambda: 3)
    assert threads.default_threads() == 3


@pytest.mark.parametrize(
    ("content", "cpus"), [("max 100000", None), ("150000 100000", 2), ("10000 100000", 1), ("", None)]
)
def test_container_quota(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str, cpus: int | None
) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(content)
    monkeypatch.setattr(threads, "_QUOTA", file)
    assert threads._quota() == cpus


@pytest.mark.parametrize(
    ("version", "files"),
    [
        (1, ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "9223372036854771712")),
        (2, ("", "memory.max", "memory.current", "max")),
    ],
)
def test_what_is_available_is_what_the_tightest_group_leaves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: int, files: tuple[str, ...]
) -> None:
    """1 GB of the system is free; the own group has no limit, that above it 300 MB and 50 MB of files."""
    place, limit, used, unlimited = files
    (tmp_path / "meminfo").write_text("MemTotal: 2000000 kB\nMemAvailable: 1000000 kB\n")
    (tmp_path / "status").write_text("VmHWM: 90000 kB\nVmRSS: 70000 kB\n")
    (tmp_path / "cgroup").write_text(
        "4:memory:/outer/inner\n3:cpu:/\n" if version == 1 else "0::/outer/inner\n"
    )
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "status")
    monkeypatch.setattr(memory, "_GROUP", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "groups")
    resident = 70_000 * 1024
    assert memory.available_bytes() == 1_000_000 * 1024 + resident
    for path, size in (("outer", "500000000"), ("outer/inner", unlimited)):
        folder = tmp_path / "groups" / place / path
        folder.mkdir(parents=True)
        (folder / limit).write_text(f"{size}\n")
        (folder / used).write_text("200000000\n")
        (folder / "memory.stat").write_text("cache 60000000\ninactive_file 50000000\n")
    assert memory.available_bytes() == 350_000_000 + resident
    (tmp_path / "status").unlink()
    assert memory.available_bytes() is None


HELD = """
import ctypes, json
from edgefoley.memory import hold_little, peak_rss_mb, reset_peak_rss

def resident():
    reset_peak_rss()
    return peak_rss_mb()

hold_little()
before, libc = resident(), ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, (ctypes.c_void_p,)
libc.free(libc.malloc(ctypes.c_size_t(20_000_000)))  # by itself the C library learns to keep such blocks
blocks = [libc.malloc(ctypes.c_size_t(2_000_000)) for _ in range(50)]
for block in blocks:
    ctypes.memset(block, 1, 2_000_000)
full = resident()
for block in blocks[:-1]:  # the last one would keep the heap from shrinking
    libc.free(block)
print(json.dumps([before, full, resident()]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process reset its peak")
def test_freed_blocks_go_back_to_the_system() -> None:
    if not reset_peak_rss():
        pytest.skip("this system does not let a process reset its peak")
    done = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, check=True)
    before, full, after = json.loads(done.stdout)
    assert full > before + 95
    assert after < before + 10


def test_what_lives_longest_counts_until_its_last_reader():
    made = [["a"], ["b", "no size"], ["c"]]
    sizes = {"a": 5, "b": 3, "c": 4}
    assert most_living(made, sizes, {"a": 1, "b": 2, "c": 3}) == 8  # a and b, while the second node runs
    assert most_living(made, sizes, {"a": 2, "b": 2, "c": 3}) == 12
    assert most_living([], {}, {}) == 0
