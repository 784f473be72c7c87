"""The log: JSON lines written by a thread.

Rule: the loop never waits for a log.  Whoever logs puts one object into a bounded queue and goes on; what does not fit
is counted and dropped; a disk or a terminal that refuses costs lines and nothing else.
"""

from __future__ import annotations

import logging
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Final, Literal, TextIO

import msgspec

from ccproxy_sanic.context import current
from ccproxy_sanic.masking import Secret
from ccproxy_sanic.ops import lines
from ccproxy_sanic.ops.lines import Exchange, Note, RequestLines
from ccproxy_sanic.ops.redaction import Redactor
from ccproxy_sanic.settings import Settings

CAPACITY: Final = 10_000  # lines that may wait
# The loop can't run while a line is made, and a thread that woke up for each line would fight it for the interpreter's
# lock: few wake-ups, each for so many lines that they are made in a fraction of a millisecond.
BATCH: Final = 64  # lines at once
TEXTS: Final = 3 * BATCH  # the same where they are texts only, a third of the work
BATCH_PAUSE: Final = 0.05  # seconds between two batches
BREATH: Final = 0.002  # the same where a batch of lines waits
NEVER: Final = sys.maxsize  # above every level
OURS: Final = ("ccproxy", "ccproxy_sanic", "actors")
FOREIGN: Final = ("asyncio", "opentelemetry", "sanic")  # from WARNING on

# Other work of the thread is dearer than a line and less urgent: it is spread, so that a flood of it is no burden.
JOBS: Final = 8  # between two batches, once in BATCH_PAUSE
WAKE: Literal[""] = ""  # says only that there is a job

Line = tuple[float, Exchange] | Note
Job = Callable[[], object]
Item = Line | Literal[""] | None


class LogStatistics(msgspec.Struct, frozen=True):
    """Lines since the start."""

    written: int
    dropped: int  # the queue was full, or the log was closed
    failed: int  # a file could not be written


class LogWriter:
    """The files and stderr of one process.

    LOG_FILE_PATH gets every line from INFO on (DEBUG with LOG_LEVEL=DEBUG), ERROR_LOG_FILE_PATH the errors, stderr a
    short line from LOG_LEVEL on.  :meth:`exchange` is the metrics actor's sink; records of the loggers in :data:`OURS`
    and warnings of those in :data:`FOREIGN` come by themselves between :meth:`start` and :meth:`stop`.

    Several workers may share the files: each block of lines is one write to the end.  ``worker`` is put on each line.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        worker: int | None = None,
        stream: TextIO | None = None,
        capacity: int = CAPACITY,
    ) -> None:
        self._paths = (settings.log_file_path, settings.error_log_file_path)
        self._level = int(getattr(logging, settings.log_level))
        self._redact = Redactor(settings.secrets)
        self._worker = worker
        self._lines = RequestLines(self._redact, worker)
        self._stream, self._capacity = stream, capacity
        self._queue: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self._jobs: deque[Job] = deque()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._handler = _Handler(self)
        self._before: list[tuple[logging.Logger, int, bool]] = []
        self._written = self._dropped = self._failed = self._told = 0
        self._broken: set[object] = set()

    def __repr__(self) -> str:
        state = "open" if self._thread is not None else "closed"
        return f"<LogWriter {state} | waiting {self._queue.qsize()}, dropped {self._dropped}, failed {self._failed}>"

    def statistics(self) -> LogStatistics:
        return LogStatistics(self._written, self._dropped, self._failed)

    def hide(self, secrets: Iterable[Secret]) -> None:
        """Keep these out of every line from now on, as those of the settings."""
        self._redact.add(secrets)
        self._lines = RequestLines(self._redact, self._worker)  # forgets the names that were masked before

    # -- life

    def start(self) -> None:
        """Open the files and begin to write.  Raises OSError where one can't be opened: that fails the boot."""
        everything = _open(self._paths[0])
        try:
            errors = _open(self._paths[1])
        except OSError:
            _close((everything,))
            raise
        self._ending.clear()
        self._thread = threading.Thread(
            target=self._run, args=(everything, errors, self._stream or sys.stderr), name="ccproxy-log", daemon=True
        )
        self._thread.start()
        for names, level in ((OURS, min(self._level, logging.INFO)), (FOREIGN, logging.WARNING)):
            for name in names:
                logger = logging.getLogger(name)
                self._before.append((logger, logger.level, logger.propagate))
                logger.addHandler(self._handler)
                logger.setLevel(level)
                logger.propagate = False

    def stop(self, timeout: float = 5.0) -> bool:
        """Write what waits, close, and give the loggers back; whether that was done within ``timeout`` seconds."""
        for logger, level, propagate in self._before:
            logger.removeHandler(self._handler)
            logger.setLevel(level)
            logger.propagate = propagate
        self._before.clear()
        thread, self._thread = self._thread, None
        if thread is None:
            return True
        self._ending.set()
        self._queue.put(None)
        thread.join(timeout)
        return not thread.is_alive()

    # -- what is logged

    def exchange(self, exchange: Exchange) -> None:
        """One request is over.  Never blocks, never raises."""
        self._put((time.time(), exchange))

    def note(self, given: Note) -> None:
        """One record.  Never blocks, never raises."""
        self._put(given)

    def later(self, job: Job) -> bool:
        """Do ``job`` on the writer's thread; False where nobody will.  Never blocks; what it raises is counted."""
        if self._thread is None:
            return False
        self._jobs.append(job)
        if len(self._jobs) == 1:  # with more, the thread has not slept since
            self._queue.put(WAKE)
        return True

    @property
    def redactor(self) -> Redactor:
        """What is kept out of the lines; it knows what :meth:`hide` was told."""
        return self._redact

    def _put(self, item: Line) -> None:
        if self._thread is None or self._queue.qsize() >= self._capacity:
            self._dropped += 1
        else:
            self._queue.put(item)

    # -- the thread

    def _run(self, everything: BinaryIO | None, errors: BinaryIO | None, stream: TextIO) -> None:
        waiting, most = self._queue, TEXTS if everything is None else BATCH
        try:
            ended, due = False, 0.0
            while not (ended and waiting.empty()):
                items = [] if self._jobs else [waiting.get()]  # at rest the thread sleeps here
                self._ending.wait(BREATH if waiting.qsize() >= most else BATCH_PAUSE)
                items += [waiting.get() for _ in range(min(most - len(items), waiting.qsize()))]
                ended = ended or None in items
                self._write([item for item in items if item], everything, errors, stream)
                if (now := time.monotonic()) >= due:
                    due = now + BATCH_PAUSE
                    self._work(JOBS)
            self._work(len(self._jobs))
        finally:
            _close((everything, errors))

    def _work(self, most: int) -> None:
        for _ in range(min(most, len(self._jobs))):
            try:
                self._jobs.popleft()()
            except Exception:  # as for lines
                self._failed += 1

    def _write(
        self,
        items: list[Line],
        everything: BinaryIO | None,
        errors: BinaryIO | None,
        stream: TextIO,
    ) -> None:
        if self._dropped > self._told:
            missing, self._told = self._dropped - self._told, self._dropped
            items.append(Note(time.time(), logging.WARNING, "ccproxy", f"{missing} log lines were dropped"))
        # Only what somebody will read is made.
        line_level = logging.NOTSET if everything is not None else logging.ERROR if errors is not None else NEVER
        text_level = self._level if stream not in self._broken else NEVER
        all_lines: list[bytes] = []
        error_lines: list[bytes] = []
        texts: list[str] = []
        about, text, worker, written = self._lines.about, self._lines.text, self._worker, 0
        for item in items:
            try:
                if isinstance(item, Note):
                    at, level = item.at, item.level
                else:
                    at, exchange = item
                    level, beginning = about(exchange)
                if level >= line_level:
                    line = self._line(item)
                    all_lines.append(line)
                    if level >= logging.ERROR:
                        error_lines.append(line)
                if level >= text_level:
                    said = lines.note_text(item, self._redact) if isinstance(item, Note) else text(exchange, beginning)
                    texts.append(_head(int(at), level, worker) + said)
                written += 1
            except Exception:  # one event that can't be shown must not end the thread
                self._failed += 1
        self._written += written
        for file, file_lines in ((everything, all_lines), (errors, error_lines)):
            if file is not None and file_lines:
                self._append(file, b"\n".join(file_lines) + b"\n")
        if texts:
            try:
                stream.write("\n".join(texts) + "\n")
                stream.flush()
            except (OSError, ValueError):  # the reader of a pipe has gone, or stderr was closed
                self._broken.add(stream)

    def _line(self, item: Line) -> bytes:
        if isinstance(item, Note):
            return lines.note_line(item, self._redact, self._worker)
        at, exchange = item
        return self._lines.line(exchange, at)

    def _append(self, file: BinaryIO, block: bytes) -> None:
        try:
            file.write(block)
        except OSError:  # a full disk: the lines are lost, the next ones are tried again
            self._failed += block.count(b"\n")


class _Handler(logging.Handler):
    """Takes records apart on the thread that logs; everything else happens on the writer's."""

    def __init__(self, writer: LogWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        context = current.get()
        ours = record.name.partition(".")[0] in OURS
        try:
            given = lines.note(record, ours=ours, request_id=context.request_id if context is not None else "")
        except Exception:
            self.handleError(record)
        else:
            self._writer.note(given)


@lru_cache(16)
def _head(at: int, level: int, worker: int | None) -> str:
    head = f"{time.strftime('%H:%M:%S', time.localtime(at))} {logging.getLevelName(level):<7} "
    return head if worker is None else f"{head}[{worker}] "


def _open(path: Path | None) -> BinaryIO | None:
    return None if path is None else path.open("ab", buffering=0)


def _close(files: Iterable[BinaryIO | None]) -> None:
    for file in files:
        if file is not None:
            file.close()
