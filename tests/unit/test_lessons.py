"""What upstreams taught is remembered for a week, within bounds, and over a restart where a folder is set."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccproxy_sanic.learning import lessons
from ccproxy_sanic.learning.keeper import Keeper
from ccproxy_sanic.learning.lessons import FILE, LASTS, LONGEST_NAME, MOST, MOST_OF_ONE, Lesson, Lessons, plain
from ccproxy_sanic.profiles import BUILTIN, from_switches

URL = "https://llm.example.com/v1"
PLAIN = from_switches({})
COLD = {"temperature": False}


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_lesson_changes_the_profile_of_its_model_only(clock: Clock) -> None:
    book = Lessons(clock)
    book.learn(URL, "m", "temperature", COLD)
    assert not book.applied(URL, "m", PLAIN).temperature
    assert not book.applied(URL + "/", "m", PLAIN).temperature
    assert book.applied(URL, "other", PLAIN) is PLAIN
    assert book.applied("https://other.example.com/v1", "m", PLAIN) is PLAIN


def test_the_profile_is_made_once() -> None:
    """What is remembered of a profile elsewhere goes by its identity."""
    book = Lessons(Clock())
    book.learn(URL, "m", "temperature", COLD)
    assert book.applied(URL, "m", PLAIN) is book.applied(URL, "m", PLAIN)
    book.take(next(iter(book)))
    taught = book.applied(URL, "m", PLAIN)
    assert taught is book.applied(URL, "m", PLAIN)
    assert book.applied(URL, "m", from_switches({"top_p": False})) is not taught


def test_a_lesson_is_forgotten_after_a_week_and_the_others_stay(clock: Clock) -> None:
    book = Lessons(clock)
    book.learn(URL, "m", "temperature", COLD)
    clock.now += LASTS / 2
    book.learn(URL, "m", "top_p", {"top_p": False})
    clock.now += LASTS / 2 - 1
    assert not book.applied(URL, "m", PLAIN).temperature
    clock.now += 1
    later = book.applied(URL, "m", PLAIN)
    assert (later.temperature, later.top_p) == (True, False)
    assert [lesson.kind for lesson in book] == ["top_p"]
    clock.now += LASTS
    assert list(book) == []
    assert book.applied(URL, "m", PLAIN) is PLAIN
    assert repr(book) == "<Lessons of 0 models>"


def test_what_is_learnt_again_is_as_good_as_new(clock: Clock) -> None:
    book = Lessons(clock)
    book.learn(URL, "m", "max_output", {"max_output": 100})
    clock.now += LASTS - 1
    book.learn(URL, "m", "max_output", {"max_output": 50})
    clock.now += LASTS - 1
    assert book.applied(URL, "m", PLAIN).max_output == 50
    assert [lesson.age(clock()) for lesson in book] == [LASTS - 1]


def test_an_older_lesson_does_not_replace_a_newer_one(clock: Clock) -> None:
    book = Lessons(clock)
    book.learn(URL, "m", "max_output", {"max_output": 50})
    book.take(Lesson(URL, "m", "max_output", {"max_output": 100}, clock() - 1))
    assert book.applied(URL, "m", PLAIN).max_output == 50


def test_a_smaller_limit_of_the_users_stays(clock: Clock) -> None:
    book = Lessons(clock)
    book.learn(URL, "m", "max_output", {"max_output": 8192})
    assert book.applied(URL, "m", from_switches({"max_output": 4096})).max_output == 4096
    assert book.applied(URL, "m", from_switches({"max_output": 9999})).max_output == 8192


def test_the_book_is_bounded(clock: Clock) -> None:
    book = Lessons(clock)
    for number in range(MOST + 10):
        clock.now += 1
        book.learn(URL, f"m{number}", "temperature", COLD)
    for number in range(MOST_OF_ONE + 10):
        book.learn(URL, "many", f"kind{number}", COLD)
    book.learn(URL, "x" * (LONGEST_NAME + 1), "temperature", COLD)
    models = [lesson.model for lesson in book]
    assert len(set(models)) == MOST
    assert "m0" not in models
    assert models.count("many") == MOST_OF_ONE
    assert max(map(len, models)) <= LONGEST_NAME


@pytest.mark.parametrize(
    ("given_url", "kept"),
    [
        ("https://user:secret@llm.example.com:8443/v1/?key=secret#secret", "https://llm.example.com:8443/v1"),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://[broken", ""),
    ],
)
def test_no_credential_of_an_address_is_kept(given_url: str, kept: str) -> None:
    assert plain(given_url) == kept


# The file


def test_the_file_is_the_owners_and_holds_no_credential(tmp_path: Path, clock: Clock) -> None:
    book = Lessons(clock)
    book.learn("https://user:secret@llm.example.com/v1?key=secret", "m", "temperature", COLD)
    folder = tmp_path / "made" / "here"
    lessons.write(folder, book)
    path = folder / FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o077 == 0
    assert os.listdir(folder) == [FILE]
    assert b"secret" not in path.read_bytes()
    assert lessons.read(folder, BUILTIN) == list(book)


@given(
    st.lists(
        st.builds(
            Lesson,
            st.just(URL),
            st.sampled_from(["a", "b"]),
            st.sampled_from(["temperature", "effort", "max_output"]),
            st.sampled_from([COLD, {"effort": {"high": {"reasoning_effort": "high"}}}, {"obfuscation": None}]),
            st.floats(0, 2e9),
        )
    )
)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, given_lessons: list[Lesson]) -> None:
    folder = tmp_path_factory.mktemp("state")
    lessons.write(folder, given_lessons)
    assert sorted(map(repr, lessons.read(folder, BUILTIN))) == sorted(map(repr, given_lessons))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"[]",
        b'{"version": 2, "lessons": []}',
        b'{"version": 1, "lessons": [{"base_url": 5}]}',
        b'{"version": 1, "lessons": [{"switches": {"a": ' + b"[" * 100_000,
    ],
)
def test_a_file_that_is_none_of_ours_is_left_out_with_a_warning(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_bytes(content)
    with caplog.at_level(logging.WARNING, "ccproxy"):
        assert lessons.read(tmp_path, BUILTIN) == []
    assert "is no file of lessons" in caplog.text


def test_a_lesson_of_another_version_is_left_out_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = Lesson(URL, "m", "temperature", COLD, 1.0)
    bad = [
        msgspec.structs.replace(good, switches={"there is no such switch": 1}),
        msgspec.structs.replace(good, switches={"temperature": "warm"}),
        msgspec.structs.replace(good, base_url="https://user:secret@llm.example.com/v1"),
        msgspec.structs.replace(good, model="m" * 1_000),
    ]
    lessons.write(tmp_path, [*bad, good])
    with caplog.at_level(logging.WARNING, "ccproxy"):
        assert lessons.read(tmp_path, BUILTIN) == [good]
    assert "4 lessons" in caplog.text


def test_a_folder_instead_of_the_file_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE).mkdir()
    with caplog.at_level(logging.WARNING, "ccproxy"):
        assert lessons.read(tmp_path, BUILTIN) == []
    assert FILE in caplog.text


# The keeper


class Process:
    """One of several that share a folder."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.tasks: list[asyncio.Task[None]] = []
        self.book = Lessons(clock)
        self.keeper = Keeper(folder, self.book, BUILTIN, self.later)

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(work))

    def learn(self, model: str, kind: str = "temperature", **switches: Any) -> None:
        self.book.learn(URL, model, kind, switches or COLD)
        self.keeper.learnt()

    async def written(self) -> None:
        await asyncio.gather(*self.tasks)


async def test_processes_that_share_a_folder_lose_nothing_of_each_other(tmp_path: Path, clock: Clock) -> None:
    one, other = Process(tmp_path, clock), Process(tmp_path, clock)
    one.learn("a")
    await one.written()
    other.learn("b")
    await other.written()
    assert {lesson.model for lesson in other.book} == {"a", "b"}
    clock.now += 1
    one.learn("a", max_output=7)
    await one.written()
    third = Process(tmp_path, clock)
    assert {lesson.model for lesson in third.book} == {"a", "b"}
    assert third.book.applied(URL, "a", PLAIN).max_output == 7


async def test_a_hundred_lessons_at_once_are_few_writings(tmp_path: Path, clock: Clock) -> None:
    process = Process(tmp_path, clock)
    for number in range(100):
        process.learn(f"m{number}")
    await process.written()
    assert len(process.tasks) == 1
    assert len(lessons.read(tmp_path, BUILTIN)) == 100
    assert repr(process.keeper) == f"<Keeper {tmp_path}>"


async def test_what_has_expired_leaves_the_file(tmp_path: Path, clock: Clock) -> None:
    process = Process(tmp_path, clock)
    process.learn("old")
    await process.written()
    clock.now += LASTS
    process.learn("new")
    await process.written()
    assert [lesson.model for lesson in lessons.read(tmp_path, BUILTIN)] == ["new"]


async def test_a_folder_that_cannot_be_written_is_said_once(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING, "ccproxy"):
        process = Process(tmp_path / "file" / "folder", clock)
        for model in ("a", "b"):
            process.learn(model)
            await process.written()
    assert caplog.text.count("forgotten at the next start") == 1
    assert {lesson.model for lesson in process.book} == {"a", "b"}
