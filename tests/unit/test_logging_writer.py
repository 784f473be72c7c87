"""The log's thread: nothing that fits is lost, nothing waits, and no fault of a file is the program's."""

from __future__ import annotations

import io
import json
import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from actors.metrics import Exchange
from ccproxy_sanic import context
from ccproxy_sanic.masking import Secret
from ccproxy_sanic.ops.logging import BATCH, FOREIGN, OURS, TEXTS, LogWriter
from ccproxy_sanic.settings import Settings, load

log = logging.getLogger("ccproxy.test")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def settings(**environ: str) -> Settings:
    return load(environ)


def exchange(number: int = 0, **fields: Any) -> Exchange:
    chosen: dict[str, Any] = {
        "request_id": f"req_{number}",
        "path": "/v1/messages",
        "caller": "ann",
        "status": 200,
        "outcome": "ok",
    }
    return Exchange(**(chosen | fields))


def written(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_text().splitlines()]


class Blocked(io.StringIO):
    """A terminal that takes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.free = threading.Event(), threading.Event()

    def write(self, text: str) -> int:
        self.entered.set()
        self.free.wait(10)
        return super().write(text)


def test_everything_goes_to_one_file_and_only_errors_to_the_other() -> None:
    """The original's error log was a byte-for-byte copy of its log."""
    screen = io.StringIO()
    writer = LogWriter(settings(), stream=screen)
    writer.start()
    writer.exchange(exchange(1))
    writer.exchange(exchange(2, status=400, outcome="client_fault"))
    writer.exchange(exchange(3, status=500, outcome="house_fault"))
    log.error("broken")
    log.info("fine")
    assert writer.stop()
    assert [line.get("request_id", line.get("message")) for line in written("log.jsonl")] == [
        *("req_1", "req_2", "req_3", "broken", "fine")
    ]
    assert [line.get("request_id", line.get("message")) for line in written("error.jsonl")] == ["req_3", "broken"]
    assert screen.getvalue().count("\n") == 5
    assert writer.statistics().written == 5


def test_stop_writes_all_that_waits() -> None:
    writer = LogWriter(settings(), stream=io.StringIO())
    writer.start()
    for number in range(5_000):
        writer.exchange(exchange(number))
    assert writer.stop()
    assert [line["request_id"] for line in written("log.jsonl")] == [f"req_{number}" for number in range(5_000)]


class Counting(io.StringIO):
    """Remembers how many lines came at once."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[int] = []

    def write(self, text: str) -> int:
        self.blocks.append(text.count("\n"))
        return super().write(text)


def test_lines_that_come_together_are_written_together() -> None:
    """A thread that woke up for each line would fight the loop for the interpreter."""
    screen = Counting()
    writer = LogWriter(settings(), stream=screen)
    writer.start()
    for number in range(BATCH - 1):
        writer.exchange(exchange(number))
    _until(lambda: sum(screen.blocks) == BATCH - 1)
    writer.stop()
    assert len(screen.blocks) < BATCH / 4


def test_a_backlog_is_written_in_pieces_without_losing_its_order() -> None:
    """Making ten thousand lines at once would keep the loop from the interpreter for all that time."""
    screen = Counting()
    writer = LogWriter(settings(), stream=screen)
    writer.start()
    for number in range(10 * BATCH):
        writer.exchange(exchange(number))
    _until(lambda: sum(screen.blocks) == 10 * BATCH)
    writer.stop()
    assert max(screen.blocks) <= BATCH
    assert [line["request_id"] for line in written("log.jsonl")] == [f"req_{number}" for number in range(10 * BATCH)]


def test_a_backlog_of_texts_is_written_in_larger_pieces() -> None:
    screen = Counting()
    writer = LogWriter(settings(LOG_FILE_PATH=""), stream=screen)
    writer.start()
    for number in range(10 * TEXTS):
        writer.exchange(exchange(number))
    _until(lambda: sum(screen.blocks) == 10 * TEXTS)
    writer.stop()
    assert max(screen.blocks) <= TEXTS
    assert [line.split()[-1] for line in screen.getvalue().splitlines()] == [f"req_{n}" for n in range(10 * TEXTS)]


def test_only_what_somebody_reads_is_made() -> None:
    """The lone surrogate can stand on a screen (as a space) but not in JSON."""
    unwritable = exchange(client_model="\ud800")
    for files, level, failed in (
        ({"LOG_FILE_PATH": "", "ERROR_LOG_FILE_PATH": ""}, "INFO", 0),
        ({"LOG_FILE_PATH": ""}, "INFO", 0),  # no error
        ({"ERROR_LOG_FILE_PATH": ""}, "ERROR", 1),
    ):
        screen = io.StringIO()
        writer = LogWriter(settings(LOG_LEVEL=level, **files), stream=screen)
        writer.start()
        writer.exchange(unwritable)
        writer.stop()
        assert writer.statistics().failed == failed
        assert screen.getvalue().count("\n") == (1 if level == "INFO" else 0)


def test_a_secret_that_is_learned_later_is_hidden_in_names_that_were_seen_before() -> None:
    screen = io.StringIO()
    writer = LogWriter(settings(), stream=screen)
    writer.start()
    writer.exchange(exchange(1, client_model="plain-words", hops=("a", "plain-words")))
    _until(lambda: writer.statistics().written == 1)
    writer.hide([Secret("plain-words")])
    writer.exchange(exchange(2, client_model="plain-words", hops=("a", "plain-words")))
    writer.stop()
    first, second = written("log.jsonl")
    assert (first["client_model"], second["client_model"]) == ("plain-words", "***")
    assert second["hops"] == ["a", "***"]
    assert [line.count("plain-words") for line in screen.getvalue().splitlines()] == [2, 0]


def test_the_file_is_appended_to() -> None:
    for number in range(2):
        writer = LogWriter(settings(), stream=io.StringIO())
        writer.start()
        writer.exchange(exchange(number))
        writer.stop()
    assert [line["request_id"] for line in written("log.jsonl")] == ["req_0", "req_1"]


def test_an_empty_path_means_no_file() -> None:
    writer = LogWriter(settings(LOG_FILE_PATH="", ERROR_LOG_FILE_PATH=""), stream=io.StringIO())
    writer.start()
    log.error("x")
    writer.stop()
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("level", "on_screen", "in_file"),
    [("DEBUG", 4, 4), ("INFO", 3, 3), ("WARNING", 2, 3), ("CRITICAL", 0, 3)],
)
def test_the_level_is_the_screens(level: str, on_screen: int, in_file: int) -> None:
    screen = io.StringIO()
    writer = LogWriter(settings(LOG_LEVEL=level), stream=screen)
    writer.start()
    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        log.log(number, "x")
    writer.stop()
    assert (screen.getvalue().count("\n"), len(written("log.jsonl"))) == (on_screen, in_file)


def test_libraries_are_heard_from_warnings_on() -> None:
    writer = LogWriter(settings(LOG_LEVEL="DEBUG"), stream=io.StringIO())
    writer.start()
    logging.getLogger("sanic.root").info("starting")
    logging.getLogger("asyncio").warning("slow")
    logging.getLogger("another").critical("not ours")
    writer.stop()
    assert [line["message"] for line in written("log.jsonl")] == ["slow"]


def test_the_loggers_are_given_back() -> None:
    def state() -> list[tuple[int, bool, int]]:
        loggers = map(logging.getLogger, (*OURS, *FOREIGN))
        return [(logger.level, logger.propagate, len(logger.handlers)) for logger in loggers]

    before = state()
    writer = LogWriter(settings(), stream=io.StringIO())
    writer.start()
    assert state() != before
    writer.stop()
    assert state() == before
    assert writer.stop()  # a second time is harmless


def test_a_record_names_the_request_that_it_belongs_to() -> None:
    writer = LogWriter(settings(), stream=io.StringIO())
    writer.start()
    ctx = context.begin(context.Asker({}, "/v1/messages"), 0.0, 0.0, 0, 0.0)
    try:
        log.warning("during a request")
    finally:
        context.current.set(None)
    log.warning("between")
    writer.stop()
    during, between = written("log.jsonl")
    assert during["request_id"] == ctx.request_id
    assert "request_id" not in between


def test_secrets_of_the_settings_are_in_no_line() -> None:
    screen = io.StringIO()
    secrets = {"OPENAI_API_KEY": "plain-key-value", "CCPROXY_AUTH_TOKENS": "ann:plain-token-value"}
    writer = LogWriter(settings(**secrets), stream=screen)
    writer.start()
    log.error("got plain-key-value and %s", "plain-token-value")
    writer.exchange(exchange(client_model="plain-token-value"))
    writer.stop()
    everything = Path("log.jsonl").read_text() + Path("error.jsonl").read_text() + screen.getvalue()
    assert "plain-" not in everything
    assert everything.count("***") == 8


def test_a_screen_that_blocks_costs_lines_and_no_time() -> None:
    screen = Blocked()
    writer = LogWriter(settings(), stream=screen, capacity=100)
    writer.start()
    try:
        writer.exchange(exchange())
        assert screen.entered.wait(10)
        for number in range(1_000):  # would never end if one of them waited
            writer.exchange(exchange(number))
        assert writer.statistics().dropped == 900
        assert "waiting 100, dropped 900" in repr(writer)
    finally:
        screen.free.set()
    assert writer.stop()
    lines = written("log.jsonl")
    assert len(lines) == 1 + 100 + 1
    assert [line["message"] for line in lines if "message" in line] == ["900 log lines were dropped"]


def test_stop_does_not_wait_for_ever() -> None:
    screen = Blocked()
    writer = LogWriter(settings(), stream=screen)
    writer.start()
    log.error("x")
    assert screen.entered.wait(10)
    assert not writer.stop(timeout=0.01)
    screen.free.set()


def test_after_the_end_lines_are_counted_and_lost() -> None:
    writer = LogWriter(settings(), stream=io.StringIO())
    writer.exchange(exchange())
    writer.start()
    writer.stop()
    writer.exchange(exchange())
    assert writer.statistics().dropped == 2
    assert "closed" in repr(writer)


def test_a_closed_screen_does_not_end_the_log() -> None:
    screen = io.StringIO()
    screen.close()
    writer = LogWriter(settings(), stream=screen)
    writer.start()
    writer.exchange(exchange(1))
    _until(lambda: writer.statistics().written == 1)
    writer.exchange(exchange(2))
    writer.stop()
    assert len(written("log.jsonl")) == 2


def test_a_full_disk_is_counted_and_the_log_goes_on() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    screen = io.StringIO()
    writer = LogWriter(settings(LOG_FILE_PATH="/dev/full"), stream=screen)
    writer.start()
    log.error("one")
    log.error("two")
    writer.stop()
    assert writer.statistics().failed == 2
    assert len(written("error.jsonl")) == 2
    assert screen.getvalue().count("\n") == 2


def test_a_line_that_cannot_be_shown_costs_only_itself() -> None:
    writer = LogWriter(settings(), stream=io.StringIO())
    writer.start()
    writer.exchange(exchange(1, client_model="\ud800"))
    writer.exchange(exchange(2))
    writer.stop()
    assert [line["request_id"] for line in written("log.jsonl")] == ["req_2"]
    assert writer.statistics().failed == 1


def test_a_file_that_cannot_be_opened_fails_the_start_and_leaves_nothing_open() -> None:
    chosen = settings(LOG_FILE_PATH="log.jsonl", ERROR_LOG_FILE_PATH="gone.jsonl")
    Path("gone.jsonl").mkdir()
    writer = LogWriter(chosen, stream=io.StringIO())
    with pytest.raises(IsADirectoryError):
        writer.start()
    assert not any(thread.name == "ccproxy-log" for thread in threading.enumerate())
    assert writer.stop()


def test_many_threads_may_log_at_once() -> None:
    writer = LogWriter(settings(), stream=io.StringIO())
    writer.start()

    def talk() -> None:
        for _ in range(100):
            log.warning("x")

    threads = [threading.Thread(target=talk) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.stop()
    assert len(written("log.jsonl")) == 800


def _until(condition: Any) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_flood_of_other_work_does_not_keep_lines_waiting() -> None:
    screen = io.StringIO()
    writer = LogWriter(settings(), stream=screen)
    writer.start()
    done: list[int] = []
    for number in range(2_000):
        assert writer.later(lambda number=number: done.append(number))
    writer.exchange(exchange(1))
    _until(lambda: "req_1" in screen.getvalue())
    assert len(done) < 2_000
    assert writer.stop()
    assert done == list(range(2_000))
    assert not writer.later(lambda: None)


def test_work_that_fails_is_counted_and_the_thread_goes_on() -> None:
    screen = io.StringIO()
    writer = LogWriter(settings(), stream=screen)
    writer.start()

    def fail() -> None:
        raise RuntimeError

    writer.later(fail)
    _until(lambda: writer.statistics().failed == 1)
    writer.exchange(exchange(1))
    assert writer.stop()
    assert "req_1" in screen.getvalue()
