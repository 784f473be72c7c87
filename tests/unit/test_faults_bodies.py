"""The words of an upstream's error are found in whatever shape it sends them, and no key gets through."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccproxy_sanic.masking import mask
from ccproxy_sanic.translate.faults import from_stream_error, from_upstream

SHAPES = {
    "OpenAI": {"error": {"message": "WORDS", "type": "invalid_request_error", "param": None, "code": None}},
    "vLLM, old": {"object": "error", "message": "WORDS", "type": "BadRequestError", "param": None, "code": 400},
    "FastAPI text": {"detail": "WORDS"},
    "FastAPI object": {"detail": {"message": "WORDS"}},
    "Gemini": [{"error": {"code": 400, "message": "WORDS", "status": "INVALID_ARGUMENT"}}],
    "xAI": {"code": "invalid-argument", "error": "WORDS"},
    "LM Studio": {"error": "WORDS"},
    "Cerebras": {"message": "WORDS", "type": "invalid_request_error", "param": "x", "code": "wrong_api_format"},
    "DashScope": {"code": "InvalidParameter", "message": "WORDS", "request_id": "1"},
    "MiniMax": {"base_resp": {"status_code": 2013, "status_msg": "WORDS"}},
    "Mistral": {"object": "error", "message": {"detail": [{"loc": [], "msg": "WORDS", "type": "x"}]}, "code": 1},
    "OAuth": {"error": "invalid_grant", "error_description": "WORDS"},
    "Spring": {"timestamp": 1, "status": 400, "error": "Bad Request", "message": "WORDS", "path": "/"},
    "AWS": {"Message": "WORDS"},
    "problem details": {"type": "about:blank", "title": "Bad Request", "detail": "WORDS"},
    "a list of errors": {"errors": [{"message": "WORDS"}]},
    "OpenRouter, raw JSON": {
        "error": {
            "code": 400,
            "message": "Provider returned error",
            "metadata": {"raw": '{"error":{"message":"WORDS","type":"x"}}', "provider_name": "Some"},
        }
    },
    "OpenRouter, raw object": {
        "error": {"code": 400, "message": "Provider returned error", "metadata": {"raw": {"message": "WORDS"}}}
    },
    "OpenRouter, raw text": {"error": {"code": 400, "message": "Provider error", "metadata": {"raw": "WORDS"}}},
    "OpenRouter, no raw": {"error": {"code": 400, "message": "WORDS", "metadata": {"raw": ""}}},
    "JSON in a message": {"error": {"message": '{"error": {"message": "WORDS"}}'}},
    "a bare string": "WORDS",
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_shape_is_unwrapped(shape: object) -> None:
    assert from_upstream(400, {}, msgspec.json.encode(shape)).message == "WORDS"
    assert from_stream_error(shape).message == "WORDS"


def test_pydantics_list_names_the_places() -> None:
    detail = [
        {"type": "missing", "loc": ["body", "messages", 0, "content"], "msg": "Field required", "input": {"a": 1}},
        {"type": "x", "loc": ["query"], "msg": "Extra", "input": None},
    ]
    error = from_upstream(422, {}, msgspec.json.encode({"detail": detail}))
    assert error.message == "messages.0.content: Field required; query: Extra"


@pytest.mark.parametrize(
    "body",
    [
        b'event: error\ndata: {"error":{"message":"WORDS"}}\n\n',
        b'data:{"error":{"message":"WORDS"}}\n\ndata: [DONE]\n\n',
        b': comment\n\ndata: {"message":"WORDS"}\n\n',
        b"  WORDS\n",
        b'\xef\xbb\xbf{"error":{"message":"WORDS"}}'[3:],
    ],
)
def test_events_and_plain_text_are_read(body: bytes) -> None:
    assert from_upstream(400, {}, body).message == "WORDS"


def test_a_page_is_shortened_to_its_title() -> None:
    page = b"<!DOCTYPE html>\n<html><head><title>502 Bad\n Gateway</title></head><body>long</body></html>"
    message = from_upstream(502, {}, page).message
    assert message == "the upstream answered 502 Bad Gateway with a page: 502 Bad Gateway"


def test_a_page_without_a_title_shows_its_text() -> None:
    page = b"<html><script>var secret = 1 < 2;</script><body><h1>Sorry &amp; bye</h1> <p>later</p>"
    message = from_upstream(503, {}, page).message
    assert message == "the upstream answered 503 Service Unavailable with a page: Sorry & bye later"


@pytest.mark.parametrize(("status", "words"), [(502, "502 Bad Gateway"), (520, "520")])
@pytest.mark.parametrize("body", [b"", b" \n", b"{}", b"[]", b"null", b'{"error":{"message":""}}', b'{"error":{}}'])
def test_silence_is_named(status: int, words: str, body: bytes) -> None:
    assert from_upstream(status, {}, body).message == f"the upstream answered {words} without a message"


def test_long_messages_are_cut() -> None:
    message = from_upstream(400, {}, msgspec.json.encode({"error": {"message": "word " * 1_000}})).message
    assert len(message) == 2_000
    assert message.endswith("…")
    assert len(from_upstream(400, {}, b"word " * 1_000).message) == 300


def test_control_characters_are_taken_out() -> None:
    message = from_upstream(400, {}, msgspec.json.encode({"error": {"message": "a\x00b\x1b[31mc\nd"}})).message
    assert message == "a b [31mc\nd"


KEYS = [
    "sk-proj-Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6",
    "sk-abcdefghijklmnopqrstuvwx",
    "sk-ant-api03-abcdefghijkl-mnopqrst_uv",
    "sk-or-v1-0123456789abcdef0123456789abcdef",
    "gsk_abcdefghijklmnopqrst",
    "xai-abcdefghijklmnopqrst",
    "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "hf_abcdefghijklmnop",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcDEF123",
    "AKIAIOSFODNN7EXAMPLE",
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("frame", ["Incorrect API key provided: {}. See there.", "({})", "key={}&x", '"{}"', "a {}\n"])
def test_no_key_gets_through(key: str, frame: str) -> None:
    text = frame.format(key)
    message = from_upstream(400, {}, msgspec.json.encode({"error": {"message": text}})).message
    for start in range(len(key) - 11):
        assert key[start : start + 12] not in message


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "Incorrect API key provided: sk-proj-********abcd. You can",
            "Incorrect API key provided: ***. You can",
        ),
        ("Incorrect API key provided: abc1****wxyz", "Incorrect API key provided: ***"),
        ("Authorization: Bearer abcdef1234567", "Authorization: Bearer ***"),
        ("https://user:pass@host/v1", "https://***@host/v1"),
        ('{"api_key": "0123456789abcdef"}', '{"api_key": "***"}'),
    ],
)
def test_the_rest_of_the_sentence_stays(text: str, wanted: str) -> None:
    assert mask(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: please check your account",
        "the bearer of this message",
        "max_tokens: 64000 > 16384, which is the maximum",
        "messages.0.content.1.text: Field required",
        "model 'claude-sonnet-4-5-20250929' not found",
        "risk-averse, task-oriented and sk-8",
        "https://platform.openai.com/account/api-keys.",
        "tool_use ids: toolu_01A09q90qw90lq917835lq9",
    ],
)
def test_ordinary_words_are_not_masked(text: str) -> None:
    assert mask(text) == text


@given(st.text(max_size=300))
def test_masking_twice_is_masking_once(text: str) -> None:
    assert mask(mask(text)) == mask(text)
