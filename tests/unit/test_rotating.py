"""A file that is put aside at a size and forgotten at an age (behaviour 41)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ccproxy_sanic.ops.rotating import DAY, SWEEP_EVERY, RotatingFile

LINE = b"0123456789\n"


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC

    def __call__(self) -> float:
        return self.now


def file_at(path: Path, clock: Clock, max_bytes: int = 30) -> RotatingFile:
    return RotatingFile(path, max_bytes, 30, clock)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_no_line_no_file(tmp_path: Path) -> None:
    file = file_at(tmp_path / "e.jsonl", Clock())
    file.close()
    assert names(tmp_path) == []


def test_a_full_file_is_put_aside_under_its_time(tmp_path: Path) -> None:
    file = file_at(tmp_path / "e.jsonl", Clock())
    for _ in range(5):
        file.append(LINE)
    file.close()
    assert names(tmp_path) == ["e.20231114_221320-1.jsonl", "e.20231114_221320.jsonl", "e.jsonl"]
    assert [(tmp_path / name).read_bytes().count(b"\n") for name in names(tmp_path)] == [2, 2, 1]
    assert file.rotations == 2


def test_a_line_longer_than_a_file_gets_one_of_its_own(tmp_path: Path) -> None:
    file = file_at(tmp_path / "e.jsonl", Clock())
    for line in (b"x" * 99 + b"\n", LINE):
        file.append(line)
    assert sorted(path.stat().st_size for path in tmp_path.iterdir()) == [11, 100]
    file.close()


def test_what_was_there_at_start_counts(tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_bytes(LINE * 2)
    file = file_at(tmp_path / "e.jsonl", Clock())
    file.append(LINE)
    file.close()
    assert file.rotations == 1


def test_two_processes_share_a_file_and_lose_no_line(tmp_path: Path) -> None:
    """One puts the file aside while the other has it open."""
    clock = Clock()
    one, other = (file_at(tmp_path / "e.jsonl", clock) for _ in range(2))
    for number in range(20):
        (one if number % 3 else other).append(b"%09d\n" % number)
    one.close()
    other.close()
    lines = b"".join(path.read_bytes() for path in tmp_path.iterdir()).split()
    assert sorted(lines) == [b"%09d" % number for number in range(20)]
    assert all(path.stat().st_size <= 30 for path in tmp_path.iterdir())


def test_a_file_that_was_moved_or_deleted_is_begun_again(tmp_path: Path) -> None:
    file = file_at(tmp_path / "e.jsonl", Clock())
    file.append(LINE)
    (tmp_path / "e.jsonl").rename(tmp_path / "moved")
    file.append(LINE)
    (tmp_path / "e.jsonl").unlink()
    file.append(LINE)
    file.close()
    assert names(tmp_path) == ["e.jsonl", "moved"]


def test_only_old_files_of_this_name_are_deleted(tmp_path: Path) -> None:
    """The original looked for the default name, whatever the file was called."""
    clock = Clock()
    old = clock.now - 31 * DAY
    kept = ["mine.jsonl", "mine.20231001_000000.txt", "mine.x.jsonl", "errors_detailed.20231001_000000.jsonl"]
    deleted = ["mine.20231001_000000.jsonl", "mine.20231001_000000-2.jsonl"]
    for name in (*kept, *deleted):
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (old, old))
    young = tmp_path / "mine.20231113_000000.jsonl"
    young.write_bytes(b"")
    os.utime(young, (clock.now - 29 * DAY,) * 2)
    file = file_at(tmp_path / "mine.jsonl", clock)
    file.append(LINE)
    assert names(tmp_path) == sorted([*kept, young.name])
    clock.now += 2 * DAY
    file.append(LINE)
    file.close()
    assert young.name not in names(tmp_path)


def test_the_folder_is_looked_through_once_an_hour_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[object] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: looks.append(path) or scandir(path))
    clock = Clock()
    file = file_at(tmp_path / "e.jsonl", clock, 1 << 20)
    for _ in range(10):
        file.append(LINE)
        clock.now += SWEEP_EVERY / 5
    file.close()
    assert len(looks) == 2


def test_a_folder_that_is_gone_is_an_error_until_it_is_back(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    file = file_at(folder / "e.jsonl", Clock())
    with pytest.raises(OSError):
        file.append(LINE)
    folder.mkdir()
    file.append(LINE)
    file.close()
    assert (folder / "e.jsonl").read_bytes() == LINE
