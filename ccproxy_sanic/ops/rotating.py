"""A file that grows by lines, is put aside at a size and forgotten at an age.

Rule: made at the first line, so that a server without faults leaves none; it trusts no memory of its own about what is
on the disk: other processes may write to the same file, and something else may move it.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

DAY: Final = 86_400.0
SWEEP_EVERY: Final = 3_600.0  # seconds


class RotatingFile:
    """``path`` with at most ``max_bytes`` (and one line more than that if it is longer); older ones are called
    ``name.YYYYmmdd_HHMMSS.suffix``, and deleted ``keep_days`` after their last line.

    For one thread.  ``now`` is the wall clock.
    """

    def __init__(self, path: Path, max_bytes: int, keep_days: float, now: Callable[[], float] = time.time) -> None:
        self._path, self._max_bytes, self._keep, self._now = path, max_bytes, keep_days * DAY, now
        self._file: int | None = None
        self._swept: float | None = None
        self.rotations = 0
        name, suffix = re.escape(path.stem), re.escape(path.suffix)
        self._old = re.compile(rf"{name}\.\d{{8}}_\d{{6}}(?:-\d+)?{suffix}")

    def __repr__(self) -> str:
        return f"<RotatingFile {self._path.name} {'open' if self._file is not None else 'closed'}>"

    def append(self, line: bytes) -> None:
        """Write one line, with its end.  Raises OSError; the next line is tried anew."""
        try:
            self._turn(len(line))
            os.write(self._opened(), line)
        except OSError:
            self.close()
            raise
        self._sweep()

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _opened(self) -> int:
        if self._file is None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
            self._file = os.open(self._path, flags, 0o600)  # it may hold more than a log does
        return self._file

    def _turn(self, more: int) -> None:
        """Be at the end of the file that has the name, with room for ``more`` bytes, or for the first line."""
        if self._file is not None and not self._is_there(self._file):
            self.close()
        size = os.fstat(self._opened()).st_size
        if size and size + more > self._max_bytes:
            self.close()
            os.rename(self._path, self._aside())
            self.rotations += 1

    def _is_there(self, file: int) -> bool:
        try:
            there = os.stat(self._path)
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(file))

    def _aside(self) -> Path:
        stamp = time.strftime("%Y%m%d_%H%M%S", time.gmtime(self._now()))
        path = self._path.with_name(f"{self._path.stem}.{stamp}{self._path.suffix}")
        number = 0
        while path.exists():  # several in one second
            number += 1
            path = self._path.with_name(f"{self._path.stem}.{stamp}-{number}{self._path.suffix}")
        return path

    def _sweep(self) -> None:
        """Delete what is too old, at the first line and then once an hour at most."""
        now = self._now()
        if self._swept is not None and now - self._swept < SWEEP_EVERY:
            return
        self._swept = now
        with contextlib.suppress(OSError):
            for entry in os.scandir(self._path.parent):
                if self._old.fullmatch(entry.name) and now - entry.stat().st_mtime > self._keep:
                    os.unlink(entry.path)
