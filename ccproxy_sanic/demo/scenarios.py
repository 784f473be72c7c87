"""Which answer the demo model gives: a table of scenarios, chosen by a marker in the latest prompt.

Rule: the request alone decides (no clock, no chance): equal requests get equal answers.  The one memory there is, for
``first=N``, counts requests with the same marker: N of them go wrong as the marker says, the next one gets a text, and
so on.  So a client that tries again can be watched succeeding.

A marker is ``[demo:NAME key=value ...]``; a value with spaces stands in double quotes.  Without a marker, or with an
unknown name, the answer is ``text``.  Three options work everywhere: ``first=N``, ``pace=SECONDS`` between two pieces
and ``quirk=NAME``, a deviation that real servers show (``quirks.QUIRKS``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from ccproxy_sanic.demo import coding, schema
from ccproxy_sanic.demo.faults import Fault
from ccproxy_sanic.demo.plan import Call, Plan
from ccproxy_sanic.demo.request import ChatRequest, prompt_tokens

MARKER: Final = re.compile(r"\[demo:([a-z-]+)((?:\s+\w+=(?:\"[^\"]*\"|[^\s\]]+))*)\s*\]")
OPTION: Final = re.compile(r"(\w+)=(?:\"([^\"]*)\"|([^\s\]]+))")
OWN: Final = frozenset({"name", "n", "turns", "say", "pace", "quirk", "first"})  # these are no arguments
THINKS: Final = frozenset({"high", "xhigh", "max"})  # reasoning_effort from which on the demo shows its reasoning
ECHO_LIMIT: Final = 120
LONGEST: Final = 3600.0  # seconds
MOST_WORDS: Final = 100_000
MOST_CALLS: Final = 64
MOST_MARKERS: Final = 256  # whose requests are counted for ``first=N``

INTRODUCTION: Final = (
    "This is the demo model that comes with the proxy: a script, not an AI. It answers because no provider is set up. "
    "To use a real one, set OPENAI_API_KEY (and OPENAI_BASE_URL for any other OpenAI-compatible server) and start "
    "the proxy again."
)
REASONING: Final = "The demo model does not reason; it shows how reasoning arrives, piece by piece, before the answer."
STORY: Final = "Once upon a time a proxy stood between two languages and dropped nothing."

Options = dict[str, str]
Memory = dict[tuple[str, ...], int]  # a marker, as its parts -> how many requests with it went wrong in a row
Scenario = Callable[[ChatRequest, bytes, Options], Plan]


def choose(request: ChatRequest, body: bytes, memory: Memory) -> Plan:
    """The plan for a request; ``body`` are its bytes, ``memory`` is the server's, for ``first=N``.

    Raises :class:`Fault` for a marker with an impossible value.
    """
    name, options = marker(request)
    if name not in SCENARIOS:
        name = "tool" if _must_call(request) else "text"
    try:
        if "first" in options and _is_over(memory, (request.model, name, *options.values()), _count(options["first"])):
            name = "text"
        _, scenario = SCENARIOS[name]
        made = scenario(request, body, options)
        made.pace = _number(options["pace"], LONGEST) if "pace" in options else made.pace
    except ValueError as error:
        raise Fault(400, f"The marker of the demo model can't be read: {error}") from None
    made.quirk = options.get("quirk", "")
    if not made.reasoning and made.text and request.reasoning_effort in THINKS:
        made.reasoning = REASONING
    return made


def marker(request: ChatRequest) -> tuple[str, Options]:
    """Name and options of the newest marker in the turn's user messages; ("", {}) if there is none."""
    for message in reversed(request.turn()):
        if message.role == "user" and (found := MARKER.findall(message.text())):
            name, rest = found[-1]
            return name, {key: quoted or bare for key, quoted, bare in OPTION.findall(rest)}
    return "", {}


def _is_over(memory: Memory, key: tuple[str, ...], first: int) -> bool:
    """Whether as many requests as wanted have gone wrong; if not, this one does."""
    seen = memory.pop(key, 0)
    if seen >= first:
        return True
    memory[key] = seen + 1
    if len(memory) > MOST_MARKERS:
        del memory[next(iter(memory))]
    return False


def _number(text: str, most: float) -> float:
    value = float(text)
    if not 0 <= value <= most:
        raise ValueError(f"{text} is not between 0 and {most:g}")
    return value


def _count(text: str, most: int = 1_000_000) -> int:
    return int(_number(str(int(text)), most))


def _must_call(request: ChatRequest) -> bool:
    """tool_choice "required" or a named function, and no result of it yet."""
    choice = request.tool_choice
    return (choice == "required" or isinstance(choice, dict)) and not _results(request)


def _results(request: ChatRequest) -> list[str]:
    return [message.text() for message in request.turn() if message.role == "tool"]


def _text(request: ChatRequest, body: bytes, options: Options) -> Plan:
    if (shape := request.response_format) is not None and shape.type != "text":
        made = schema.arguments(shape.json_schema.schema if shape.json_schema else {}, {})
        return Plan(text=msgspec.json.encode(made).decode())
    said = [INTRODUCTION]
    if request.images():
        said.append(f"I received {_images(request)}.")
    if results := _results(request):
        said.append(f"The tools answered: {' | '.join(one[:ECHO_LIMIT] for one in results)}")
    elif prompt := request.prompt():
        said.append(f'You said: "{prompt[:ECHO_LIMIT]}{"…" if len(prompt) > ECHO_LIMIT else ""}"')
    return Plan(text="\n\n".join(said))


def _images(request: ChatRequest) -> str:
    """How many images, and the media type and size of those that came inside the request."""
    shown = []
    for url in request.images():
        head, _, data = url.partition(";base64,")
        size = len(data) // 4 * 3 - data[-2:].count("=")
        shown.append(f"{head.removeprefix('data:')}, {size} bytes" if data else "by URL")
    return f"{len(shown)} image{'s' * (len(shown) != 1)} ({'; '.join(shown)})"


def _think(request: ChatRequest, body: bytes, options: Options) -> Plan:
    return Plan(reasoning=REASONING, text="That was the reasoning; this is the answer.")


def _tool(request: ChatRequest, body: bytes, options: Options) -> Plan:
    wanted = [options["name"]] if "name" in options else _chosen(request) or list(request.functions())[:1]
    return _call(request, wanted, options)


def _tools(request: ChatRequest, body: bytes, options: Options) -> Plan:
    declared = list(request.functions())
    wanted = options["name"].split(",") if "name" in options else declared
    count = _count(options.get("n", str(max(2, len(wanted)) if "name" in options else 2)), MOST_CALLS)
    cycled = [wanted[at % len(wanted)] for at in range(count)] if wanted else []
    return _call(request, cycled[:1] if request.parallel_tool_calls is False else cycled, options)


def _chosen(request: ChatRequest) -> list[str]:
    choice = request.tool_choice
    named: Any = choice.get("function") if isinstance(choice, dict) else None
    return [named["name"]] if isinstance(named, dict) and isinstance(named.get("name"), str) else []


def _call(request: ChatRequest, wanted: list[str], options: Options) -> Plan:
    """Call the wanted tools in each of ``turns`` turns (default 1), then report what they said."""
    declared = request.functions()
    asked = sum(1 for message in request.turn() if message.tool_calls)
    if asked >= _count(options.get("turns", "1")) or request.tool_choice == "none":
        return _text(request, body=b"", options=options)
    missing = [name for name in wanted if name not in declared]
    if missing or not wanted:
        return Plan(text=f"No tool named {', '.join(missing)} is declared." if missing else "No tool is declared.")
    wishes = {key: value for key, value in options.items() if key not in OWN}
    calls = [Call(name, schema.arguments(declared[name].parameters, wishes)) for name in wanted]
    return Plan(text=options.get("say", ""), calls=calls)


def _coding(request: ChatRequest, body: bytes, options: Options) -> Plan:
    return coding.plan(request, options)


def _error(request: ChatRequest, body: bytes, options: Options) -> Plan:
    status = int(options.get("status", "500"))
    if not 400 <= status <= 599:
        raise ValueError(f"status={status} is no error")
    headers = {"retry-after": options["retry_after"]} if "retry_after" in options else {}
    message = options.get("message", f"The demo model was asked to answer {status}.")
    return Plan(fault=Fault(status, message, code=options.get("code"), headers=headers))


def _overflow(request: ChatRequest, body: bytes, options: Options) -> Plan:
    """Always, or with ``limit`` if the request is larger: so a client that shortens its history gets through."""
    size = prompt_tokens(body)
    limit = _count(options["limit"], 1 << 40) if "limit" in options else size - 1
    if size <= limit:
        return _text(request, body, options)
    message = (
        f"This model's maximum context length is {limit} tokens. However, your messages resulted in {size} tokens. "
        "Please reduce the length of the messages."
    )
    fault = Fault(400, message, code="context_length_exceeded", param="messages", overflow=(size, limit))
    return Plan(fault=fault)


def _error_midstream(request: ChatRequest, body: bytes, options: Options) -> Plan:
    fault = Fault(int(options.get("status", "500")), options.get("message", "The demo model failed in mid-stream."))
    return Plan(text=STORY, fault=fault, fault_at=_count(options.get("after", "3")))


def _drop(request: ChatRequest, body: bytes, options: Options) -> Plan:
    return Plan(text=STORY, cut_at=_count(options.get("after", "3")))


def _hang(request: ChatRequest, body: bytes, options: Options) -> Plan:
    at = _count(options["after"]) if "after" in options else None
    return Plan(text=STORY, hold=_number(options.get("seconds", "30"), LONGEST), hold_at=at)


def _slow(request: ChatRequest, body: bytes, options: Options) -> Plan:
    return Plan(text=STORY, pace=0.1)


def _long(request: ChatRequest, body: bytes, options: Options) -> Plan:
    return Plan(text=" ".join(f"word{at}" for at in range(_count(options.get("n", "1000"), MOST_WORDS))))


def _empty(request: ChatRequest, body: bytes, options: Options) -> Plan:
    return Plan()


def _length(request: ChatRequest, body: bytes, options: Options) -> Plan:
    return Plan(text=STORY[: len(STORY) // 2], finish="length")


def _refusal(request: ChatRequest, body: bytes, options: Options) -> Plan:
    return Plan(refusal="The demo model was asked to refuse, and does.")


def _echo(request: ChatRequest, body: bytes, options: Options) -> Plan:
    return Plan(text=body.decode("utf-8", "replace"), whole=True)


SCENARIOS: Final[dict[str, tuple[str, Scenario]]] = {
    "text": ("a friendly text (with `response_format`: JSON that fits its schema); the default", _text),
    "think": ("reasoning, then text (any answer has reasoning from `reasoning_effort` high on)", _think),
    "tool": ("calls the tool `name=` or the first; other keys become its arguments; `turns=`, `say=`", _tool),
    "tools": ("parallel calls: `name=a,b` or the first two declared; `n=`, `turns=`", _tools),
    "coding": ("a coding session with the client's own file and shell tools; `dir=`", _coding),
    "error": ("an HTTP error: `status=`, `retry_after=`, `code=`, `message=`", _error),
    "error-midstream": ("an error object in the stream `after=` pieces; not streamed: HTTP 500", _error_midstream),
    "drop": ("the connection is cut `after=` pieces (0: before the first byte)", _drop),
    "hang": ("no byte for `seconds=` (30), at once or `after=` pieces; then a text", _hang),
    "slow": ("a text, a piece every `pace=` seconds (0.1)", _slow),
    "long": ("`n=` words (1000)", _long),
    "empty": ("an answer without content", _empty),
    "length": ("a text cut by the token limit", _length),
    "refusal": ("a refusal", _refusal),
    "overflow": ("400: the context length is exceeded; with `limit=` only by requests of more tokens", _overflow),
    "echo": ("the request it received, as JSON text", _echo),
}
