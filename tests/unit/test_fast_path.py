"""Which events are copied without being decoded, server by server, and which must not be."""

from __future__ import annotations

import itertools
import json
from types import ModuleType
from typing import Any

import pytest

from ccproxy_sanic.errors import Broken
from ccproxy_sanic.translate import short_cut, stream
from ccproxy_sanic.translate.common_events import LONGEST
from ccproxy_sanic.translate.stream import StreamTranslator
from ccproxy_sanic.wire.openai_chat_reply import decode_chunk
from tests.support.replies import long_way, spec

WORDS = ["Once", " upon", " a", " time", ' \\"there\\"', "\\n", " was", " é", "漢", " fox", ".", " It", " ran", " off"]

# What each server writes: %TEXT% stands for a delta's text, %N% for a number that grows, %PAD% for letters.
OPENAI = (
    '{"id":"chatcmpl-B9","object":"chat.completion.chunk","created":1754000000,"model":"gpt-4.1-2025-04-14",'
    '"service_tier":"default","system_fingerprint":"fp_51","choices":[{"index":0,"delta":{"content":"%TEXT%"},'
    '"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"%PAD%"}'
)
AZURE = (
    '{"choices":[{"content_filter_results":{"hate":{"filtered":false,"severity":"safe"},"violence":{"filtered":false,'
    '"severity":"safe"}},"delta":{"content":"%TEXT%"},"finish_reason":null,"index":0,"logprobs":null}],'
    '"created":1754000000,"id":"chatcmpl-B9","model":"gpt-4o","object":"chat.completion.chunk",'
    '"system_fingerprint":"fp_51","usage":null}'
)
VLLM = (
    '{"id":"chatcmpl-7f","object":"chat.completion.chunk","created":1754000000,"model":"Qwen/Qwen3-8B","choices":'
    '[{"index":0,"delta":{"content":"%TEXT%"},"logprobs":null,"finish_reason":null,"token_ids":null}]}'
)
VLLM_THINKS = VLLM.replace('"content":"%TEXT%"', '"reasoning":"%TEXT%","reasoning_content":"%TEXT%"')
LLAMA_CPP = (
    '{"choices":[{"finish_reason":null,"index":0,"delta":{"content":"%TEXT%"}}],"created":17540%N%,"id":"chatcmpl-W",'
    '"model":"smol","system_fingerprint":"b0-unknown","object":"chat.completion.chunk"}'
)
LLAMA_CPP_CALLS = LLAMA_CPP.replace(
    '"content":"%TEXT%"', '"tool_calls":[{"index":0,"function":{"arguments":"%TEXT%"}}]'
)
OLLAMA = (
    '{"id":"chatcmpl-123","object":"chat.completion.chunk","created":17540%N%,"model":"llama3.2",'
    '"system_fingerprint":"fp_ollama","choices":[{"index":0,"delta":{"role":"assistant","content":"%TEXT%"},'
    '"finish_reason":null}]}'
)
OLLAMA_THINKS = OLLAMA.replace('"content":"%TEXT%"', '"content":"","reasoning":"%TEXT%"')
OPENROUTER = (
    '{"id":"gen-1754","provider":"DeepInfra","model":"qwen/qwen3","object":"chat.completion.chunk","created":1754000000'
    ',"choices":[{"index":0,"delta":{"role":"assistant","content":"%TEXT%"},"finish_reason":null,'
    '"native_finish_reason":null,"logprobs":null}]}'
)
DEEPSEEK = (
    '{"id":"a1b2","object":"chat.completion.chunk","created":1754000000,"model":"deepseek-reasoner",'
    '"system_fingerprint":"fp_8","choices":[{"index":0,"delta":{"content":"%TEXT%","reasoning_content":null},'
    '"logprobs":null,"finish_reason":null}],"usage":null}'
)
DEEPSEEK_THINKS = DEEPSEEK.replace(
    '"content":"%TEXT%","reasoning_content":null', '"content":null,"reasoning_content":"%TEXT%"'
)
SGLANG = (
    '{"id":"3d","object":"chat.completion.chunk","created":17540%N%,"model":"default","choices":[{"index":0,"delta":'
    '{"role":null,"content":"%TEXT%","reasoning_content":null,"tool_calls":null},"logprobs":null,"finish_reason":null,'
    '"matched_stop":null}],"usage":null}'
)
LM_STUDIO = (
    '{"id":"chatcmpl-k","object":"chat.completion.chunk","created":1754000000,"model":"qwen3-8b","system_fingerprint":'
    '"qwen3-8b","choices":[{"index":0,"delta":{"role":"assistant","content":"%TEXT%"},"logprobs":null,'
    '"finish_reason":null}]}'
)
MISTRAL = (
    '{"id":"7c","object":"chat.completion.chunk","created":1754000000,"model":"mistral-small","choices":[{"index":0,'
    '"delta":{"content":"%TEXT%"},"finish_reason":null}],"p":"%PAD%"}'
)
TOGETHER = (
    '{"id":"oA","object":"chat.completion.chunk","created":1754000000,"choices":[{"index":0,"text":"%TEXT%","logprobs":'
    'null,"finish_reason":null,"seed":null,"delta":{"token_id":12%N%,"role":"assistant","content":"%TEXT%",'
    '"tool_calls":null}}],"model":"m","usage":null}'
)
SPACED = json.dumps(json.loads(VLLM))
SERVERS = {name.lower(): text for name, text in list(globals().items()) if name.isupper() and isinstance(text, str)}


def written(server: str, text: str, number: int = 0) -> bytes:
    text = (
        server.replace("%TEXT%", text)
        .replace("%N%", str(1000 + number))
        .replace("%PAD%", "kzqwertyui"[: 1 + number % 7])
    )
    return b"data: " + text.encode() + b"\n\n"


def opening(server: str) -> bytes:
    """What comes before the first piece: arguments need a call that they belong to."""
    if "arguments" not in server:
        return b""
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "Bash", "arguments": '{"command":"'}}
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}).encode() + b"\n\n"


def words(text: str) -> str:
    """A text as it stands in arguments: there it is escaped once more."""
    return json.dumps(json.loads(f'"{text}"'), ensure_ascii=False)[1:-1]


def pieces(server: str) -> list[bytes]:
    texts = [json.dumps(words(word), ensure_ascii=False)[1:-1] for word in WORDS] if "arguments" in server else WORDS
    return [written(server, text, number) for number, text in enumerate(texts)]


def noting(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> list[bytes]:
    """The payloads that a module decodes from now on."""
    found: list[bytes] = []

    def decode(payload: bytes) -> Any:
        found.append(payload)
        return decode_chunk(payload)

    monkeypatch.setattr(module, "decode_chunk", decode)
    return found


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    return noting(monkeypatch, stream)


@pytest.mark.parametrize("at_once", [True, False], ids=["one read", "a read each"])
@pytest.mark.parametrize("server", SERVERS.values(), ids=SERVERS)
def test_a_server_s_pieces_are_copied_once_some_were_seen(server: str, at_once: bool, decoded: list[bytes]) -> None:
    events = [opening(server), *pieces(server)]
    slow = long_way(spec())
    expected = b"".join([slow.feed(event) for event in events])
    decoded.clear()
    machine = StreamTranslator(spec())
    reads = [b"".join(events)] if at_once else events
    assert b"".join([machine.feed(read) for read in reads]) == expected
    assert 2 <= len(decoded) <= 4
    assert machine.usage == slow.usage


def test_a_changing_member_is_learned_once(decoded: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was seen to differ is left open from then on; one that somebody reads never is."""
    machine = StreamTranslator(spec())
    for number in range(200):
        machine.feed(written(OLLAMA, "x", number))
    assert len(decoded) == 3
    decoded.clear()
    looked_at = noting(monkeypatch, short_cut)
    machine = StreamTranslator(spec())
    for number in range(200):
        machine.feed(written(OLLAMA, "x").replace(b"chatcmpl-123", b"chatcmpl-%d" % number))
    assert len(decoded) == 200
    assert len(looked_at) == 8  # the first, second, fourth ...


def test_a_member_that_is_not_what_it_seems_is_not_copied(decoded: list[bytes]) -> None:
    """The text is where a decoder finds it, not where its name stands."""
    server = '{"z":{"content":"same"},"choices":[{"delta":{"cont\\u0065nt":"%TEXT%"}}]}'
    machine = StreamTranslator(spec())
    assert b"same" not in machine.feed(written(server, "a") * 9)
    assert len(decoded) >= 9
    tiers = [
        written(OPENAI.replace("service_tier", "service_t\\u0069er").replace("default", tier), "a") for tier in "abc"
    ]
    machine = StreamTranslator(spec())
    machine.feed(
        b"".join(tiers) + written(OPENAI.replace("service_tier", "service_t\\u0069er").replace("default", "fast"), "a")
    )
    assert machine._tier == "fast"


def test_very_long_events_are_not_remembered(decoded: list[bytes]) -> None:
    machine = StreamTranslator(spec())
    machine.feed(written(VLLM, "x" * LONGEST) * 4)
    assert len(decoded) == 4
    machine.feed(written(VLLM, "x") * 2 + written(VLLM, "x" * LONGEST) * 4)
    assert len(decoded) == 5  # once the shape is known, the length is no hindrance


def test_two_kinds_in_turn_are_both_known(decoded: list[bytes]) -> None:
    machine = StreamTranslator(spec())
    for _ in range(20):
        machine.feed(written(DEEPSEEK_THINKS, "a") * 2 + written(DEEPSEEK, "b") * 2)
    assert len(decoded) == 20 * 2 + 2


# what the long way does must happen

ENDED = '{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}'
TRAPS = {
    "usage": ('"usage":null', '"usage":{"prompt_tokens":3,"completion_tokens":2}'),
    "another tier": ('"service_tier":"default"', '"service_tier":"priority"'),
    "no tier": ('"service_tier":"default"', '"service_tier":null'),
    "tier is a number": ('"service_tier":"default"', '"service_tier":5'),
    "finish": ('"finish_reason":null', '"finish_reason":"stop"'),
    "finish is empty": ('"finish_reason":null', '"finish_reason":""'),
    "second choice": ('"choices":[{"index":0', '"choices":[{"index":1'),
    "two choices": ('"choices":[', '"choices":[{"index":1,"delta":{"content":"z"}},'),
    "choice after": ("}]", '},{"index":0,"delta":{"content":"z"}}]'),
    "no index": ('{"index":0,"delta"', '{"delta"'),
    "error": ('"usage":null', '"error":{"message":"boom"}'),
    "error in the choice": ('"logprobs":null', '"error":{"message":"boom"}'),
    "usage in the choice": ('"logprobs":null', '"usage":{"prompt_tokens":4,"completion_tokens":2}'),
    "stop_reason": ('"logprobs":null', '"stop_reason":"END"'),
    "matched_stop": ('"logprobs":null', '"matched_stop":"END"'),
    "timings": ('"usage":null', '"timings":{"prompt_n":1,"predicted_n":2}'),
    "x_groq": ('"usage":null', '"x_groq":{"usage":{"prompt_tokens":1}}'),
    "eval_count": ('"usage":null', '"eval_count":4'),
    "prompt_eval_count": ('"usage":null', '"prompt_eval_count":4'),
    "content is null": ('"%TEXT%"', "null"),
    "content is empty": ('"%TEXT%"', '""'),
    "content is a number": ('"%TEXT%"', "5"),
    "content is a list": ('"%TEXT%"', '[{"type":"text","text":"%TEXT%"}]'),
    "content comes twice": ('"content":', '"content":"other","content":'),
    "content and reasoning": ('"content":', '"reasoning":"Hm","content":'),
    "content and refusal": ('"content":', '"refusal":"no","content":'),
    "content and details": ('"content":', '"reasoning_details":[{"type":"reasoning.encrypted","data":"d"}],"content":'),
    "content and a call": ('"content":', '"tool_calls":[{"index":0,"id":"c","function":{"name":"Bash"}}],"content":'),
    "content and arguments": (
        '"content":',
        '"tool_calls":[{"index":0,"function":{"name":"Bash","arguments":"{"}}],"content":',
    ),
    "content and a function": ('"content":', '"function_call":{"name":"Bash","arguments":"{}"},"content":'),
    "reasoning instead": ('"content":', '"reasoning":'),
    "refusal instead": ('"content":', '"refusal":'),
    "no delta": ('"delta":{"content":"%TEXT%"}', '"delta":null'),
    "message instead": ('"delta"', '"message"'),
    "cut JSON": ("}]", "}"),
    "NaN": ('"usage":null', '"usage":NaN'),
    "two objects": ('"usage":null', '"usage":null}{"choices":[]'),
    "deep": ('"usage":null', '"z":' + "[" * 3000 + "]" * 3000),
    "escaped name": ('"content":', '"cont\\u0065nt":'),
    "escaped text": ("%TEXT%", "\\u0041\\/\\u00e9"),
    "half a pair": ("%TEXT%", "\\ud83d"),
    "control character": ("%TEXT%", "a\tb"),
    "the end": (OPENAI, "[DONE]"),
    "last word": (OPENAI, ENDED),
}
LEARNED = b"".join([written(OPENAI, text, number) for number, text in enumerate("abcd")])


def state(machine: StreamTranslator) -> tuple[Any, ...]:
    return (
        machine.usage,
        machine.finish_reason,
        machine.stop_reason,
        machine.upstream_id,
        type(machine.fault),
        machine.done,
    )


@pytest.mark.parametrize(("old", "new"), TRAPS.values(), ids=TRAPS)
def test_an_unusual_chunk_takes_the_long_way(old: str, new: str, decoded: list[bytes]) -> None:
    assert old in OPENAI
    trap = OPENAI.replace(old, new, 1)
    body = written(trap, "t") + written(OPENAI, "e") + written(trap, "u") + written(OPENAI, "f", 2)
    usage = written(OPENAI.replace('"usage":null', '"usage":{"prompt_tokens":1}'), "g")
    for rest, at_once in itertools.product((b"", usage, b"data: [DONE]\n\n"), (True, False)):
        quick, slow = (make(spec(stop_sequences=("END",))) for make in (StreamTranslator, long_way))
        reads = [LEARNED, body + rest] if at_once else [LEARNED, *(body + rest).splitlines(keepends=True)]
        slow_frames = [*map(slow.feed, reads), slow.close()]
        decoded.clear()
        frames = [quick.feed(reads[0])]
        assert len(decoded) == 3
        frames += [*map(quick.feed, reads[1:]), quick.close()]
        assert written(trap, "t")[6:-2] in decoded or trap == "[DONE]"
        assert frames == slow_frames
        assert state(quick) == state(slow)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"think_tags": True}, id="tags"),
        pytest.param({"enforce_stops": ("xt x",)}, id="stops"),
        pytest.param({"think_tags": True, "enforce_stops": ("xt x",)}, id="tags and stops"),
        pytest.param({"thinking": "drop"}, id="drop"),
        pytest.param({"thinking": "omit"}, id="omit"),
    ],
)
def test_what_the_request_asks_for_is_done(changes: dict[str, Any]) -> None:
    texts = ["<thi", "nk>a", "b", "c", "</th", "ink>", "d", "e", "f", "the text x", "g"]
    body = b"".join([written(OPENAI, text, number) for number, text in enumerate(texts)])
    body += written(DEEPSEEK_THINKS, "r") * 4 + written(DEEPSEEK, " ") + written(DEEPSEEK_THINKS, "s") * 3
    body += written(DEEPSEEK, "t") * 3
    quick, slow = StreamTranslator(spec(**changes)), long_way(spec(**changes))
    assert quick.feed(body) + quick.close() == slow.feed(body) + slow.close()


def test_think_tags_do_not_hinder_once_they_are_over(decoded: list[bytes]) -> None:
    machine = StreamTranslator(spec(think_tags=True))
    machine.feed(b"".join([written(VLLM, text) for text in ("<think>", "a", "</think>", *"bcdefgh")]))
    assert len(decoded) == 5
    decoded.clear()
    machine = StreamTranslator(spec(think_tags=True))
    machine.feed(written(VLLM_THINKS, "a") * 6)
    assert len(decoded) == 2


@pytest.mark.parametrize(
    ("held", "changes"),
    [("</thi", {"think_tags": True}), ("xt", {"enforce_stops": ("xt x",)}), (" ", {}), ("visible", {})],
)
def test_what_was_held_back_in_the_midst_of_thinking_keeps_its_place(held: str, changes: dict[str, Any]) -> None:
    body = b"" if "think_tags" not in changes else written(DEEPSEEK, "<think>")
    body += written(DEEPSEEK_THINKS, "a") * 4 + written(DEEPSEEK, held) + written(DEEPSEEK_THINKS, "b") * 4
    body += written(DEEPSEEK_THINKS.replace('"content":null', '"content":"both"'), "c")
    body += written(DEEPSEEK_THINKS, "d") * 4
    quick, slow = StreamTranslator(spec(**changes)), long_way(spec(**changes))
    assert quick.feed(body) + quick.close() == slow.feed(body) + slow.close()


def test_whitespace_held_back_is_dropped_when_thinking_goes_on() -> None:
    body = written(DEEPSEEK_THINKS, "a") * 3 + written(DEEPSEEK, " ") + written(DEEPSEEK_THINKS, "a") * 3
    body += written(DEEPSEEK, "b")
    quick, slow = StreamTranslator(spec()), long_way(spec())
    assert quick.feed(body) == slow.feed(body)
    assert b'"text":" ' not in body


def test_text_after_the_last_word_means_that_it_was_none() -> None:
    for end, fault in ((b"", Broken), (f"data: {ENDED}\n\n".encode(), type(None))):
        machine = StreamTranslator(spec())
        machine.feed(LEARNED + f"data: {ENDED}\n\n".encode() + written(OPENAI, "e") + end)
        machine.close()
        assert type(machine.fault) is fault


def test_the_tier_is_that_of_the_last_chunk() -> None:
    def tier(*events: bytes) -> str | None:
        machine = StreamTranslator(spec())
        machine.feed(LEARNED + b"".join(events) + f"data: {ENDED}\n\n".encode())
        return machine.usage.service_tier

    other = written(OPENAI.replace("default", "priority"), "x")
    assert tier() == tier(other, written(OPENAI, "e")) == tier(other, written(OPENAI, "e") * 2) == "standard"
    assert tier(other) == tier(other, written(OPENAI.replace('"service_tier":"default",', ""), "y")) == "priority"
