"""A context overflow of every known server becomes words that a client can act on."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccproxy_sanic.errors import PromptTooLong, Refused
from ccproxy_sanic.translate import overflow
from ccproxy_sanic.translate.faults import from_stream_error, from_upstream

# What Claude Code reads the figures with (protocol.md 5.3).
CLAUDE_CODE = re.compile(r"prompt is too long[^0-9]*(\d+)\s*tokens?\s*>\s*(\d+)", re.IGNORECASE)
CLAUDE_CODE_OUTPUT = re.compile(r"input length and `max_tokens` exceed context limit: (\d+) \+ (\d+) > (\d+)")
CLAUDE_CODE_CAP = re.compile(r"max_tokens: (\d+) > (\d+), which is the maximum allowed number of output tokens for")

TOO_LONG = [
    ("Anthropic", "prompt is too long: 210000 tokens > 200000 maximum", 210_000, 200_000),
    (
        "OpenAI",
        "This model's maximum context length is 128000 tokens. However, your messages resulted in 130211 tokens. "
        "Please reduce the length of the messages.",
        130_211,
        128_000,
    ),
    (
        "Azure",
        "This model's maximum context length is 4097 tokens, however you requested 5000 tokens (4500 in the messages, "
        "500 in the completion). Please reduce the length of the messages or completion.",
        4_500,
        4_097,
    ),
    (
        "with functions",
        "This model's maximum context length is 4097 tokens. However, you requested 5500 tokens (4000 in the messages, "
        "1000 in the functions, and 500 in the completion). Please reduce the length of the messages.",
        5_000,
        4_097,
    ),
    (
        "OpenAI Responses",
        "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300100 tokens. "
        "Please reduce the length of the messages.",
        300_100,
        272_000,
    ),
    (
        "vLLM",
        "This model's maximum context length is 32768 tokens. However, your request has 40000 input tokens. "
        "Please reduce the length of the input messages.",
        40_000,
        32_768,
    ),
    (
        "vLLM engine",
        "The decoder prompt (length 40000) is longer than the maximum model length of 32768. "
        "Make sure that `max_model_len` is no smaller than the number of text tokens.",
        40_000,
        32_768,
    ),
    (
        "OpenRouter",
        "This endpoint's maximum context length is 131072 tokens. However, you requested about 141000 tokens "
        "(139000 of text input, 2000 of tool input). Please reduce the length of either one",
        141_000,
        131_072,
    ),
    (
        "SGLang",
        "The input (9009 tokens) is longer than the model's context length (8192 tokens).",
        9_009,
        8_192,
    ),
    (
        "SGLang total",
        "Requested token count exceeds the model's maximum context length of 8192 tokens. You requested a total of "
        "13000 tokens: 9000 tokens from the input messages and 4000 tokens for the completion.",
        9_000,
        8_192,
    ),
    ("input length", "Input length (40000) exceeds model's maximum context length (32768).", 40_000, 32_768),
    (
        "llama.cpp",
        "request (9009 tokens) exceeds the available context size (8192 tokens), try increasing it",
        9_009,
        8_192,
    ),
    (
        "Gemini",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        1_200_000,
        1_048_576,
    ),
    (
        "Vertex",
        "Unable to submit request because the input token count is 1200000 but model only supports up to 1048576. "
        "Reduce the input token count and try again.",
        1_200_000,
        1_048_576,
    ),
    ("Kimi", "Invalid request: Your request exceeded model token limit: 131072 (requested: 140000)", 140_000, 131_072),
    (
        "xAI",
        "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
        537_812,
        131_072,
    ),
    (
        "Mistral",
        "Prompt contains 65673 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
        65_673,
        32_768,
    ),
    (
        "Cerebras",
        "Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192",
        9_000,
        8_192,
    ),
    ("Copilot", "prompt token count of 140000 exceeds the limit of 128000", 140_000, 128_000),
    (
        "LM Studio",
        "Trying to keep the first 9000 tokens when context the overflows. However, the model is loaded with context "
        "length of only 4096 tokens, which is not enough.",
        9_000,
        4_096,
    ),
    ("Fireworks", "The prompt is too long: 140000, model maximum context length: 131071", 140_000, 131_071),
    (
        "thousands commas",
        "The input token count (1,200,000) exceeds the maximum number of tokens allowed (1,048,576).",
        1_200_000,
        1_048_576,
    ),
]


@pytest.mark.parametrize(("text", "prompt", "limit"), [pytest.param(*row[1:], id=row[0]) for row in TOO_LONG])
def test_the_figures_of_an_overflow_are_found(text: str, prompt: int, limit: int) -> None:
    error = from_upstream(400, {}, msgspec.json.encode({"error": {"message": text}}))
    assert isinstance(error, PromptTooLong)
    assert (error.status, error.type) == (400, "invalid_request_error")
    assert error.message == f"prompt is too long: {prompt} tokens > {limit} maximum"
    found = CLAUDE_CODE.search(error.message)
    assert found is not None
    assert (int(found[1]), int(found[2])) == (prompt, limit)


FITS_WITHOUT_OUTPUT = [
    (
        "'max_tokens' or 'max_completion_tokens' is too large: 32000. This model's maximum context length is 40960 "
        "tokens and your request has 10000 input tokens (32000 > 40960 - 10000).",
        (10_000, 32_000, 40_960),
    ),
    (
        "This model's maximum context length is 8192 tokens. However, you requested 4096 output tokens and your prompt "
        "contains at least 4097 input tokens, for a total of at least 8193 tokens.",
        (4_097, 4_096, 8_192),
    ),
    (
        "This model's maximum context length is 4097 tokens. However, you requested 5000 tokens (1000 in the messages, "
        "4000 in the completion). Please reduce the length of the messages or completion.",
        (1_000, 4_000, 4_097),
    ),
    (
        "This endpoint's maximum context length is 131072 tokens. However, you requested about 165000 tokens (100000 "
        "of text input, 1000 of tool input, 64000 in the output).",
        (101_000, 64_000, 131_072),
    ),
    (
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 8000 `inputs` tokens and "
        "1000 `max_new_tokens`",
        (8_000, 1_000, 8_193),
    ),
]


@pytest.mark.parametrize(("text", "figures"), FITS_WITHOUT_OUTPUT)
def test_a_prompt_that_fits_without_its_output_lowers_max_tokens(text: str, figures: tuple[int, int, int]) -> None:
    error = from_upstream(400, {}, msgspec.json.encode({"error": {"message": text}}))
    found = CLAUDE_CODE_OUTPUT.search(error.message)
    assert found is not None, error.message
    assert tuple(map(int, found.groups())) == figures


CAPPED = [
    ("max_tokens is too large: 64000. This model supports at most 16384 completion tokens, whereas you provided 64000.",
     64_000, 16_384),
    ("Invalid 'max_tokens': integer above maximum value. Expected a value <= 4096, but got 64000 instead.",
     64_000, 4_096),
    ("The parameter `max_tokens` specified in the request is not valid: integer above maximum value, expected a value "
     "<= 12288, but got 32000 instead.", 32_000, 12_288),
    ("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", 64_000, 8_192),
    ("<400> InternalError.Algo.InvalidParameter: Range of max_tokens should be [1, 8192]", 64_000, 8_192),
    ("`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is less than the "
     "`context_window` for this model", 64_000, 8_192),
    ("Unable to submit request because it has a maxOutputTokens value of 65536 but the supported range is from 1 "
     "(inclusive) to 8193 (exclusive). Update the value and try again.", 65_536, 8_192),
]  # fmt: skip


@pytest.mark.parametrize(("text", "asked", "cap"), CAPPED)
def test_a_max_tokens_over_the_models_limit_names_both(text: str, asked: int, cap: int) -> None:
    error = from_upstream(400, {}, msgspec.json.encode({"error": {"message": text}}), asked=64_000)
    found = CLAUDE_CODE_CAP.match(error.message)
    assert found is not None, error.message
    assert (int(found[1]), int(found[2])) == (asked, cap)


def test_a_range_alone_is_left_as_it_is_when_nobody_knows_what_was_asked() -> None:
    text = "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]"
    error = from_upstream(400, {}, msgspec.json.encode({"error": {"message": text}}))
    assert (type(error), error.message) == (Refused, text)


@pytest.mark.parametrize("wording", overflow.WORDINGS)
def test_every_wording_alone_is_an_overflow_without_figures(wording: str) -> None:
    text = f"Sorry: {wording.upper()}."
    error = from_stream_error({"message": text})
    assert isinstance(error, PromptTooLong)
    assert error.message == f"prompt is too long ({text})"


@pytest.mark.parametrize("exclusion", overflow.NOT_OVERFLOW)
def test_texts_that_only_look_like_an_overflow_stay(exclusion: str) -> None:
    error = from_upstream(400, {}, msgspec.json.encode({"error": {"message": f"{exclusion}: maximum context length"}}))
    assert type(error) is Refused


def test_a_code_alone_says_overflow() -> None:
    body = {"error": {"message": "Too much.", "code": "context_length_exceeded"}}
    assert from_upstream(400, {}, msgspec.json.encode(body)).message == "prompt is too long (Too much.)"


def test_llama_cpps_fields_give_the_figures_when_the_text_does_not() -> None:
    body = {
        "error": {
            "code": 400,
            "message": "the request exceeds the available context size. try increasing the context size",
            "type": "exceed_context_size_error",
            "n_prompt_tokens": 9009,
            "n_ctx": 8192,
        }
    }
    wanted = "prompt is too long: 9009 tokens > 8192 maximum"
    assert from_upstream(400, {}, msgspec.json.encode(body)).message == wanted
    assert from_stream_error(body).message == wanted


@pytest.mark.parametrize(("status", "is_overflow"), [(400, True), (413, True), (422, True), (500, True), (429, False)])
def test_where_an_overflow_is_looked_for(status: int, is_overflow: bool) -> None:
    body = msgspec.json.encode({"error": {"message": "This exceeds the context window."}})
    assert isinstance(from_upstream(status, {}, body), PromptTooLong) is is_overflow


def test_a_total_per_minute_is_no_overflow() -> None:
    text = (
        "Request too large for model `x` on tokens per minute (TPM): Limit 6000, Requested 9000, please reduce your "
        "message size and try again."
    )
    body = msgspec.json.encode({"error": {"message": text, "type": "tokens", "code": "rate_limit_exceeded"}})
    assert (from_upstream(429, {}, body).status, from_upstream(413, {}, body).status) == (429, 413)


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_figures_that_contradict_an_overflow_are_not_repeated(prompt: int, limit: int) -> None:
    text = f"request ({prompt} tokens) exceeds the available context size ({limit} tokens)"
    told = overflow.rewrite(text)
    assert told is not None
    assert (f"{prompt} tokens > {limit}" in told) == (prompt >= limit)
    assert told.startswith("prompt is too long")


@given(st.text(alphabet=st.sampled_from("0123456789, tokens()[]<=>`maxcontexlghisrqud._+-/*:"), max_size=400))
def test_any_text_has_an_answer(text: str) -> None:
    told = overflow.rewrite(f"maximum context length is {text}")
    assert told is not None
