"""The plain fields of the request (protocol.md 1.2), row by row."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from ccproxy_sanic.profiles import resolve
from tests.support.translation import MODEL, body, codes, sent, translate

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}


def answer_format(schema: Any = SCHEMA, **more: Any) -> dict[str, Any]:
    return {"output_config": {"format": {"type": "json_schema", "schema": schema, **more}}}


def test_the_upstreams_model_is_the_routes() -> None:
    assert sent(body(model="claude-x") | {"model": MODEL})["model"] == MODEL


@pytest.mark.parametrize(
    ("profile", "field"),
    [
        *(("openai", "max_completion_tokens"), ("azure", "max_completion_tokens"), ("groq", "max_completion_tokens")),
        *(("cerebras", "max_completion_tokens"), ("minimax", "max_completion_tokens"), ("generic", "max_tokens")),
        *(("openrouter", "max_tokens"), ("deepseek", "max_tokens"), ("vllm", "max_tokens"), ("zai", "max_tokens")),
    ],
)
def test_one_output_limit_is_sent(profile: str, field: str) -> None:
    request = sent(body(max_tokens=77), profile)
    assert request[field] == 77
    assert len({"max_tokens", "max_completion_tokens"} & set(request)) == 1


@pytest.mark.parametrize(("asked", "got"), [(7, 7), (1000, 1000), (1001, 1000), (128_000, 1000)])
def test_max_tokens_is_a_true_clamp(asked: int, got: int) -> None:
    done = translate(body(max_tokens=asked), {"max_output": 1000})
    assert done.request.max_tokens == got
    assert ("max_tokens_clamped" in codes(done)) == (asked > 1000)


def test_max_tokens_zero_asks_for_no_call() -> None:
    assert translate(body(max_tokens=0)).empty
    assert not translate(body(max_tokens=1)).empty


# stream


def test_stream_asks_for_usage() -> None:
    request = sent(body(stream=True))
    assert request["stream"] is True
    assert request["stream_options"] == {"include_usage": True}
    assert not {"stream", "stream_options"} & set(sent(body()))
    assert "stream_options" not in sent(body(stream=True), {"stream_options": False})


def test_obfuscation_is_turned_off_only_at_openais_own_host() -> None:
    options = {"include_usage": True, "include_obfuscation": False}
    assert sent(body(stream=True), resolve("https://api.openai.com/v1", "m"))["stream_options"] == options
    for url in ("https://x.openai.azure.com", "http://127.0.0.1:1", "https://api.deepseek.com"):
        assert "include_obfuscation" not in sent(body(stream=True), resolve(url, "m"))["stream_options"]


# stop


@pytest.mark.parametrize(
    ("profile", "taken", "left"),
    [("openai", 4, 2), ("generic", 4, 2), ("openai-reasoning", 0, 6)],
)
def test_stop_sequences_are_sent_as_far_as_they_go(profile: str, taken: int, left: int) -> None:
    stops = [f"S{number}" for number in range(6)]
    done = translate(body(stop_sequences=stops), profile)
    assert sent(body(stop_sequences=stops), profile).get("stop", []) == stops[:taken]
    assert done.stop_sequences == tuple(stops)
    assert done.enforce_stops == tuple(stops[taken:])
    assert len(done.enforce_stops) == left
    assert codes(done) == {"stops_enforced": "stop_sequences"}


def test_few_stop_sequences_need_no_watching() -> None:
    done = translate(body(stop_sequences=["a", "b"]))
    assert (done.enforce_stops, codes(done)) == ((), {})
    assert "stop" not in sent(body(stop_sequences=[]))


# sampling


@pytest.mark.parametrize(
    ("profile", "kept"),
    [
        ("openai", {"temperature", "top_p"}),
        ("openai-reasoning", set()),
        ("generic", {"temperature", "top_p"}),
        *((name, {"temperature", "top_p", "top_k"}) for name in ("vllm", "sglang", "llamacpp", "openrouter")),
        *((name, {"temperature", "top_p", "top_k"}) for name in ("dashscope", "fireworks", "together")),
        ("deepseek", {"temperature", "top_p"}),
    ],
)
def test_sampling(profile: str, kept: set[str]) -> None:
    given = {"temperature": 0.5, "top_p": 0.9, "top_k": 40}
    request = sent(body(**given), profile)
    assert {name: request[name] for name in given if name in request} == {name: given[name] for name in kept}
    dropped = [one.path for one in translate(body(**given), profile).adjustments if one.code == "sampling_dropped"]
    assert set(dropped) == set(given) - kept


def test_zero_is_a_temperature() -> None:
    assert sent(body(temperature=0))["temperature"] == 0
    done = translate(body(temperature=0), "groq")
    assert done.request.temperature == 1e-8
    assert codes(done) == {"sampling_clamped": "temperature"}


@pytest.mark.parametrize("model", ["o3", "gpt-5", "gpt-5.1", "gpt-5.4-mini", "gpt-6"])
def test_openai_reasoning_models_take_no_sampling_and_no_stop(model: str) -> None:
    profile = resolve("https://api.openai.com/v1", model)
    request = sent(body(temperature=1.0, top_p=0.9, stop_sequences=["END"]), profile)
    assert not {"temperature", "top_p", "stop"} & set(request)


# who is asking


def test_the_user_id_travels_as_a_hash_only() -> None:
    user_id = '{"device_id":"d","account_uuid":"","session_id":"s"}'
    digest = hashlib.sha256(user_id.encode()).hexdigest()
    fields = {"metadata": {"user_id": user_id}}
    assert sent(body(**fields))["safety_identifier"] == digest
    assert sent(body(**fields), "openrouter")["user"] == digest
    done = translate(body(**fields), "generic")
    assert codes(done) == {"user_id_dropped": "metadata.user_id"}
    assert user_id not in str(done)
    assert not {"user", "safety_identifier"} & set(sent(body(metadata={})))


def test_the_session_is_a_cache_key_at_openai_only() -> None:
    key = sent(body(), session="sess")["prompt_cache_key"]
    assert key == hashlib.sha256(b"sess").hexdigest()
    assert "prompt_cache_key" not in sent(body())
    assert "prompt_cache_key" not in sent(body(), "generic", session="sess")


@pytest.mark.parametrize(
    ("fields", "tier"),
    [
        ({"service_tier": "auto"}, None),
        ({"service_tier": "standard_only"}, "default"),
        ({"service_tier": "brand_new"}, None),
        ({"speed": "fast"}, "fast"),
        ({"speed": "standard"}, None),
    ],
    ids=str,
)
def test_tiers(fields: dict[str, Any], tier: str | None) -> None:
    assert sent(body(**fields)).get("service_tier") == tier
    done = translate(body(**fields), "generic")
    assert "service_tier" not in sent(body(**fields), "generic")
    assert ("service_tier_dropped" in codes(done)) == (tier is not None)


@pytest.mark.parametrize(
    "name",
    [
        *("billing_policy", "container", "context_management", "fallback_credit_token", "fallbacks", "inference_geo"),
        *("tags", "user_profile_id", "workspace_id"),
    ],
)
def test_fields_without_meaning_are_ignored_with_a_note(name: str) -> None:
    done = translate(body(**{name: {"skills": [1]}}))
    assert codes(done) == {"field_ignored": name}
    assert sent(body(**{name: {"skills": [1]}})) == sent(body())
    assert not codes(translate(body(**{name: None})))


def test_the_task_budget_is_ignored_with_a_note() -> None:
    assert codes(translate(body(output_config={"task_budget": {"total": 5}}))) == {
        "field_ignored": "output_config.task_budget"
    }


def test_diagnostics_and_unknown_fields_are_ignored() -> None:
    assert sent(body(diagnostics={}, brand_new=1, betas=["x"])) == sent(body())


def test_lone_surrogates_are_noted() -> None:
    assert codes(translate(body(messages=[{"role": "user", "content": "a\ud800"}]))) == {"surrogates_replaced": ""}


def test_what_a_server_always_wants_is_sent() -> None:
    assert sent(body(), "minimax")["reasoning_split"] is True
    assert sent(body(), "zai")["tool_stream"] is True


# structured answers


@pytest.mark.parametrize(
    "fields",
    [answer_format(), {"output_format": {"type": "json_schema", "schema": SCHEMA}}],
    ids=["output_config", "legacy"],
)
def test_a_schema_that_fits_is_strict(fields: dict[str, Any]) -> None:
    assert sent(body(**fields))["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "response", "schema": SCHEMA, "strict": True},
    }
    assert not codes(translate(body(**fields)))


@pytest.mark.parametrize(
    "schema",
    [
        SCHEMA | {"required": []},
        SCHEMA | {"additionalProperties": True},
        {"foo": "bar"},
        {"anyOf": [SCHEMA]},
        SCHEMA | {"properties": {"n": {"type": "integer", "default": 1}}},
        SCHEMA | {"properties": {"n": {"type": "object"}}},
        SCHEMA | {"properties": {"n": {"type": "array", "items": {"type": "object"}}}},
        SCHEMA | {"properties": {"n": {"anyOf": [{"allOf": []}]}}},
        SCHEMA | {"$defs": {"d": {"type": "object"}}},
        SCHEMA | {"required": {"n": 1, "m": []}},
    ],
    ids=str,
)
def test_a_schema_that_does_not_fit_is_sent_without_strict(schema: dict[str, Any]) -> None:
    done = translate(body(**answer_format(schema)))
    assert "strict" not in sent(body(**answer_format(schema)))["response_format"]["json_schema"]
    assert codes(done) == {"strict_dropped": "output_config.format.schema"}


def test_a_schema_that_is_too_deep_is_sent_without_strict() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(12):
        schema = SCHEMA | {"properties": {"n": schema}}
    assert "strict" not in sent(body(**answer_format(schema)))["response_format"]["json_schema"]


def test_without_schemas_the_server_is_told_in_words() -> None:
    done = translate(body(system="s", **answer_format(SCHEMA | {"$schema": "x"})), "deepseek")
    text = (
        "Answer with one JSON object that matches this JSON Schema: "
        '{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"],"additionalProperties":false}'
    )
    assert done.request.messages[0].content == f"s\n\n{text}"
    assert done.request.response_format == {"type": "json_object"}
    assert codes(done) == {"format_as_instruction": "output_config.format"}
    assert "response_format" not in sent(body(**answer_format()), {"json_schema": "prompt"})


def test_a_format_of_a_new_type_is_dropped() -> None:
    done = translate(body(output_config={"format": {"type": "poem"}}))
    assert codes(done) == {"format_dropped": "output_config.format.type"}
