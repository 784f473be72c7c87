"""Files of warm-up requests: what is taken of them, what is left out and said so, what is written."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ccproxy_sanic.caching import warmup_file
from ccproxy_sanic.pipeline.keeping import Origin

HELLO = {"model": "claude-sonnet-4-5", "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]}
# an item as the original wrote it
OLD = {
    "messages": [{"role": "user", "content": "Hello"}],
    "response": {"id": "warmup_hello", "type": "message", "role": "assistant", "content": [{"text": "Hi"}]},
}


def written(folder: Path, content: Any) -> Path:
    path = folder / "cache_warmup.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def found(folder: Path, content: Any, most: int = 100) -> warmup_file.Found:
    return warmup_file.read(written(folder, content), most)


def test_an_item_is_a_request_byte_for_byte(tmp_path: Path) -> None:
    body = '{"messages": [{"role":"user",  "content":"Hi"}], "model":"m", "max_tokens":5}'
    [item] = found(tmp_path, f"[ {body} ]").items
    assert (item.body.decode(), item.caller, item.headers, item.query) == (body, "", {}, "")


def test_an_item_of_the_original_is_completed_and_its_answer_is_not_used(tmp_path: Path) -> None:
    read = found(tmp_path, [OLD, HELLO])
    assert json.loads(read.items[0].body) == {
        "model": warmup_file.MODEL,
        "max_tokens": 100,
        "messages": OLD["messages"],
    }
    assert read.notes == ["1 items bring an answer, which is not used: the upstream is asked"]
    assert read.faults == []


def test_a_stream_is_asked_for_as_a_whole_answer(tmp_path: Path) -> None:
    [item] = found(tmp_path, [HELLO | {"stream": True}]).items
    assert json.loads(item.body) == HELLO


def test_a_saved_item_has_its_caller_and_headers(tmp_path: Path) -> None:
    wrapped = {"request": HELLO, "caller": "token:ann", "headers": {"anthropic-beta": "x"}, "query": "beta=true"}
    [item] = found(tmp_path, [wrapped]).items
    assert (item.caller, item.headers, item.query) == ("token:ann", {"anthropic-beta": "x"}, "beta=true")
    assert json.loads(item.body) == HELLO


@pytest.mark.parametrize(
    ("item", "fault"),
    [
        ({"model": "m", "max_tokens": 5}, "item 2: messages: Field required"),
        ({"messages": "Hello"}, "item 2: messages: "),
        ("Hello", "item 2: it is no request"),
        (7, "item 2: it is no request"),
        ({"request": "Hello"}, "item 2: it is no request"),
        ({"cache_key": "abc"}, "item 2: messages: Field required"),  # what the original saved
    ],
)
def test_what_is_no_request_is_named_and_the_others_are_used(tmp_path: Path, item: Any, fault: str) -> None:
    read = found(tmp_path, [HELLO, item, HELLO])
    assert len(read.items) == 2
    assert len(read.faults) == 1
    assert read.faults[0].startswith(fault)


@pytest.mark.parametrize("content", ["", "{", '{"a": 1}', "[1,", "\x00", "[" * 20_000 + "]" * 20_000])
def test_a_broken_file_has_no_items_and_says_why(tmp_path: Path, content: str) -> None:
    assert found(tmp_path, content) == ([], ["it is no JSON list"], [])


@pytest.mark.parametrize("item", [b'{"model":"\xd5","messages":[]}', b'{"\x8e":1}'])
def test_text_that_is_no_utf_8_ended_the_whole_warm_up(tmp_path: Path, item: bytes) -> None:
    path = tmp_path / "warm.json"
    path.write_bytes(b"[%b,%b]" % (item, json.dumps(HELLO).encode()))
    read = warmup_file.read(path, 10)
    assert (len(read.items), read.faults) == (1, ["item 1: it is no request"])


def test_a_file_that_is_not_there_is_no_fault(tmp_path: Path) -> None:
    assert warmup_file.read(tmp_path / "none.json", 10) == ([], [], [])


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert warmup_file.read(tmp_path, 10).faults == ["Is a directory"]


def test_above_the_limit_items_are_left_out_and_it_says_so(tmp_path: Path) -> None:
    read = found(tmp_path, [HELLO] * 5, most=3)
    assert len(read.items) == 3
    assert read.notes == ["only the first 3 of 5 are taken"]


def test_what_is_written_is_read_again_byte_for_byte_and_only_by_its_owner(tmp_path: Path) -> None:
    path = warmup_file.popular_path(tmp_path / "folder" / "cache_warmup.json")
    assert path.name == "cache_warmup.popular.json"
    body = json.dumps(HELLO, indent=1).encode()
    items = [Origin(msgspec.Raw(body), "local", {"anthropic-version": "2023-06-01"}), Origin(msgspec.Raw(body))]
    for _ in range(2):  # also over what was there
        warmup_file.write(path, items)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        again = warmup_file.read(path, 10)
        assert [(item.body, item.caller, item.headers) for item in again.items] == [
            (item.body, item.caller, item.headers) for item in items
        ]
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(("name", "popular"), [("warm", "warm.popular.json"), ("a.b.json", "a.b.popular.json")])
def test_popular_requests_lie_beside_the_file(name: str, popular: str) -> None:
    assert warmup_file.popular_path(Path("/x") / name) == Path("/x") / popular
