"""Keeps what upstreams taught over a restart.

Rule: nobody waits for the file.  It is read once, at start; it is written in a thread, once for all that was learnt
while the last writing ran; a folder that can't be written is said once and costs nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from ccproxy_sanic.learning import lessons
from ccproxy_sanic.learning.lessons import Lesson, Lessons
from ccproxy_sanic.profiles import Catalog

log = logging.getLogger("ccproxy")
Later = Callable[[Coroutine[Any, Any, None]], object]
"""Runs a coroutine to its end, some time: the runtime's, which owns the tasks."""


class Keeper:
    """``folder`` is CCPROXY_STATE_DIR."""

    def __init__(self, folder: Path, book: Lessons, catalog: Catalog, later: Later) -> None:
        self._folder, self._book, self._catalog, self._later = folder, book, catalog, later
        self._writing = self._stale = self._failed = False
        self._take_over(lessons.read(folder, catalog))

    def __repr__(self) -> str:
        return f"<Keeper {self._folder}{' writing' if self._writing else ''}>"

    def learnt(self) -> None:
        """The book has changed."""
        self._stale = True
        if not self._writing:
            self._writing = True
            self._later(self._write())

    async def _write(self) -> None:
        try:
            while self._stale:
                self._stale = False
                mine = list(self._book)
                self._take_over(await asyncio.to_thread(self._merge, mine))
        finally:
            self._writing = False

    def _merge(self, mine: list[Lesson]) -> list[Lesson]:
        """In a thread: write mine and what is in the file.  Returns what is in the file now."""
        others = lessons.read(self._folder, self._catalog)
        merged = Lessons(self._book.now)
        for lesson in sorted([*others, *mine], key=lambda one: one.learned_at):
            merged.take(lesson)
        together = list(merged)
        try:
            lessons.write(self._folder, together)
        except OSError as error:
            if not self._failed:
                self._failed = True
                log.warning(
                    "CCPROXY_STATE_DIR %s: %s; what upstreams teach is forgotten at the next start",
                    self._folder,
                    error.strerror,
                )
        return together

    def _take_over(self, found: list[Lesson]) -> None:
        for lesson in found:
            self._book.take(lesson)
