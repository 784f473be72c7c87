"""Content blocks (protocol.md 2.2), one test a row."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccproxy_sanic.profiles import builtin
from ccproxy_sanic.translate.request import to_chat
from ccproxy_sanic.wire.anthropic import decode_request
from tests.support.translation import (
    PNG,
    assistant,
    body,
    codes,
    image,
    refusal,
    result,
    talk,
    text,
    translate,
    translate_bytes,
    use,
    user,
)

PDF = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
DATA_URL = f"data:image/png;base64,{PNG}"


def document(source: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "document", "source": source, **more}


def one(block: dict[str, Any], profile: Any = "openai") -> Any:
    """What a user's only block becomes."""
    return talk([user(block)], profile)[0]["content"]


def answered(content: Any, profile: Any = "openai", **more: Any) -> list[dict[str, Any]]:
    """What follows the call that has ``content`` as its result."""
    return talk([user("x"), assistant(use("a")), user(result("a", content, **more))], profile)[2:]


def tool_text(content: Any, profile: Any = "openai", **more: Any) -> Any:
    return answered(content, profile, **more)[0]["content"]


def test_text_and_its_citations() -> None:
    assert one(text("hi", citations=[{"type": "char_location"}])) == "hi"


def test_images() -> None:
    assert one(image()) == [{"type": "image_url", "image_url": {"url": DATA_URL}}]
    url = {
        "type": "image",
        "source": {"type": "url", "url": "https://e.com/a"},
        "transformations": {"oversized_image": {}},
    }
    assert one(url) == [{"type": "image_url", "image_url": {"url": "https://e.com/a"}}]


def test_an_image_that_is_a_file_is_refused() -> None:
    message = refusal(body(messages=[user(image(type="file", file_id="f"))]))
    assert message.startswith("messages.0.content.0.image")


def test_an_image_for_a_model_without_vision_is_a_note() -> None:
    done = translate(body(messages=[user(image())]), {"vision": False})
    assert done.request.messages[0].content == "[image omitted: the model has no image input]"
    assert codes(done) == {"image_omitted": "messages.0.content.0"}


def test_an_image_for_a_server_without_content_parts_is_a_note() -> None:
    assert one(image(), "flat") == "[image omitted: the model has no image input]"


def test_an_image_url_for_a_server_that_fetches_none_is_a_note() -> None:
    assert "https://e.com/a" in one(image(type="url", url="https://e.com/a"), "ollama")
    assert one(image(), "ollama") == [{"type": "image_url", "image_url": {"url": DATA_URL}}]


def test_documents_of_text() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "alpha"}
    assert one(document(source)) == "<document>\nalpha\n</document>"
    assert one(document(source, title='The "T"')) == '<document title="The &quot;T&quot;">\nalpha\n</document>'
    assert one(document(source, title="T", context="of note")) == '<document title="T">\nof note\nalpha\n</document>'


def test_documents_of_content() -> None:
    assert one(document({"type": "content", "content": "alpha"})) == "<document>\nalpha\n</document>"
    blocks = [text("a"), image(), text("b")]
    assert one(document({"type": "content", "content": blocks})) == [
        {"type": "text", "text": "<document>\na\nb\n</document>"},
        {"type": "image_url", "image_url": {"url": DATA_URL}},
    ]


def test_documents_of_pdf() -> None:
    file = {"filename": "document.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}
    assert one(document(PDF)) == [{"type": "file", "file": file}]
    assert one(document(PDF, title="a.pdf"), "openrouter")[0]["file"]["filename"] == "a.pdf"
    assert "does not support PDF input" in refusal(body(messages=[user(document(PDF))]), "generic")


def test_documents_by_url() -> None:
    source = {"type": "url", "url": "https://e.com/a.pdf"}
    assert one(document(source), "openrouter")[0]["file"]["file_data"] == "https://e.com/a.pdf"
    assert "document" in refusal(body(messages=[user(document(source))]), "openai")


def test_documents_that_are_files_are_refused() -> None:
    assert "files are not supported" in refusal(body(messages=[user(document({"type": "file", "file_id": "f"}))]))


def test_search_results() -> None:
    block = {"type": "search_result", "title": "T", "source": "https://e.com", "content": [text("a"), text("b")]}
    assert one(block) == '<search_result title="T" source="https://e.com">\na\nb\n</search_result>'
    assert tool_text([block]) == '<search_result title="T" source="https://e.com">\na\nb\n</search_result>'


def test_a_source_of_a_new_type_drops_the_block_only() -> None:
    for kind in ("image", "document"):
        done = translate(body(messages=[user(text("x"), {"type": kind, "source": {"type": "wormhole"}})]))
        assert done.request.messages[0].content == "x"
        assert codes(done) == {"block_dropped": "messages.0.content.1"}


def test_compaction() -> None:
    block = {"type": "compaction", "content": "so far"}
    summary = "<conversation_summary>so far</conversation_summary>"
    assert one(block) == summary
    assert talk([user("x"), assistant(block, text("go on")), user("y")])[1]["content"] == f"{summary}\n\ngo on"
    assert talk([user({"type": "compaction", "content": None}, text("x"))])[0]["content"] == "x"


@pytest.mark.parametrize("kind", ["hologram", "container_upload", "fallback"])
def test_what_no_server_knows_is_dropped_with_a_note(kind: str) -> None:
    for role in (user, assistant):
        done = translate(body(messages=[user("x"), role(text("y"), {"type": kind}), user("z")]))
        assert "block_dropped" in codes(done)
        assert kind not in json.dumps([str(message.content) for message in done.request.messages])


@pytest.mark.parametrize(
    "kind",
    [
        *("server_tool_use", "web_search_tool_result", "web_fetch_tool_result", "tool_search_tool_result"),
        *("advisor_tool_result", "mcp_tool_use", "mcp_tool_result", "mcp_tool_listing"),
        *("code_execution_tool_result", "bash_code_execution_tool_result"),
    ],
)
def test_history_of_server_tools_is_dropped_with_a_note(kind: str) -> None:
    done = translate(
        body(messages=[user("x"), assistant(text("y"), {"type": kind, "id": "s", "content": []}), user("z")])
    )
    assert done.request.messages[1].content == "y"
    assert codes(done) == {"history_dropped": "messages.1.content.1"}


def test_what_code_printed_is_kept_as_text() -> None:
    block = {
        "type": "bash_code_execution_tool_result",
        "content": {"type": "bash_code_execution_result", "stdout": "42\n", "stderr": "", "return_code": 0},
    }
    assert talk([user("x"), assistant(text("y"), block), user("z")])[1]["content"] == "y\n\n[result: 42\n]"


# tool_use


def test_arguments_are_compact_and_keep_characters() -> None:
    raw = json.dumps(body(messages=[user("x"), assistant(use("a", v="HERE", n=[1, 2])), user(result("a"))]))
    for spelled, meant in ((r"\u00e9", "é"), ("é", "é"), (r"\"\\", r"\"\\"), (r"\ud83d\ude00", "😀")):
        calls = translate_bytes(raw.replace("HERE", spelled).encode()).request.messages[1].tool_calls
        assert calls[0].function.arguments == f'{{"v":"{meant}","n":[1,2]}}'  # type: ignore[index]


def test_arguments_with_a_number_that_no_float_holds_survive() -> None:
    raw = (
        '{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":'
    )
    raw += '"tool_use","id":"a","name":"f","input":{"n": 1e999, "s": "\\u00e9"}}]}]}'
    request = translate_bytes(raw.encode()).request
    assert request.messages[1].tool_calls[0].function.arguments == '{"n":1e999,"s":"\\u00e9"}'  # type: ignore[index]


# tool_result


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("ok", "ok"),
        ([text("a"), text("b")], "a\nb"),
        ("", "(no output)"),
        (None, "(no output)"),
        ([], "(no output)"),
        ([text(" ")], "(no output)"),
        ([{"type": "tool_reference", "tool_name": "N"}], "Tool N is now available."),
        ([document({"type": "text", "data": "alpha"}, title="T")], '<document title="T">\nalpha\n</document>'),
        ([{"type": "hologram"}, text("kept")], "kept"),
        (
            [{"type": "browser_state", "tabs": [{"tab_id": "1", "title": "é", "url": "u"}]}],
            '{"type":"browser_state","tabs":[{"tab_id":"1","title":"é","url":"u"}]}',
        ),
        (
            [{"type": "browser_state", "tabs": [], "state_changes": [{"type": "tab_opened"}]}],
            '{"type":"browser_state","tabs":[],"state_changes":[{"type":"tab_opened"}]}',
        ),
    ],
    ids=str,
)
def test_tool_results(content: Any, said: str) -> None:
    assert tool_text(content) == said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("boom", "Error: boom"),
        ("error: boom", "error: boom"),
        ("ERROR boom", "ERROR boom"),
        ("<tool_use_error>boom</tool_use_error>", "<tool_use_error>boom</tool_use_error>"),
        ("", "Error: (no output)"),
        ("Exit code 3\nerror", "Error: Exit code 3\nerror"),
    ],
)
def test_failed_results_say_so_once(content: str, said: str) -> None:
    assert tool_text(content, is_error=True) == said
    assert not str(tool_text(content, is_error=False)).startswith("Error:")


@pytest.mark.parametrize(("spaces", "says_so"), [(35, True), (36, False)])
def test_the_word_error_counts_at_the_beginning_only(spaces: int, says_so: bool) -> None:
    text = " " * spaces + "error"
    assert tool_text(text, is_error=True) == (text if says_so else f"Error: {text}")


def test_attachments_of_results_move_behind_all_tool_messages() -> None:
    messages = talk(
        [
            user("x"),
            assistant(use("a"), use("b")),
            user(result("b", [image(), image()]), text("look"), result("a", [document(PDF), text("see")])),
        ]
    )
    image_part = {"type": "image_url", "image_url": {"url": DATA_URL}}
    assert messages[2:4] == [
        {
            "role": "tool",
            "tool_call_id": "b",
            "content": "[image 1 is attached in the next user message]\n[image 2 is attached in the next user message]",
        },
        {"role": "tool", "tool_call_id": "a", "content": "[document 1 is attached in the next user message]\nsee"},
    ]
    assert messages[4]["role"] == "user"
    assert messages[4]["content"] == [
        {"type": "text", "text": "Attachments returned by tool call b:"},
        image_part,
        image_part,
        {"type": "text", "text": "Attachments returned by tool call a:"},
        {"type": "file", "file": {"filename": "document.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
        {"type": "text", "text": "look"},
    ]


def test_images_stay_inside_results_where_the_profile_says_so() -> None:
    messages = answered([text("done"), image()], {"tool_images": "inline"})
    assert messages == [
        {
            "role": "tool",
            "tool_call_id": "a",
            "content": [{"type": "text", "text": "done"}, {"type": "image_url", "image_url": {"url": DATA_URL}}],
        }
    ]


def test_an_image_in_a_result_for_a_model_without_vision_is_a_note() -> None:
    assert answered([image()], {"vision": False}) == [
        {"role": "tool", "tool_call_id": "a", "content": "[image omitted: the model has no image input]"}
    ]


def test_a_pdf_in_a_result_is_refused_by_its_path() -> None:
    messages = [user("x"), assistant(use("a")), user(result("a", [text("p"), document(PDF)]))]
    message = refusal(body(messages=messages), "generic")
    assert message == "messages.2.content.0.content.1.document.source: this model does not support PDF input"


# what cannot be an assistant's


def test_images_and_files_of_an_assistant_are_dropped_with_a_note() -> None:
    for block in (image(), document(PDF)):
        done = translate(body(messages=[user("x"), assistant(text("y"), block), user("z")]))
        assert done.request.messages[1].content == "y"
        assert codes(done) == {"block_dropped": "messages.1.content.1"}


def test_a_text_document_of_an_assistant_is_text() -> None:
    block = document({"type": "text", "data": "alpha"})
    assert (
        talk([user("x"), assistant(text("y"), block), user("z")])[1]["content"] == "y\n\n<document>\nalpha\n</document>"
    )


def test_translation_leaves_the_request_as_it_was() -> None:
    marked = text("a", cache_control={"type": "ephemeral"})
    messages = [user("x"), assistant(use("a")), user(result("a", [marked]))]
    request = decode_request(json.dumps(body(messages=messages, system=[marked])).encode())
    first, second = (to_chat(request, model="m", profile=builtin("openrouter")) for _ in range(2))
    assert first == second


def test_thinking_and_tool_changes_in_a_users_message_say_nothing() -> None:
    change = {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "n"}}
    done = translate(body(messages=[user({"type": "thinking", "thinking": "hm"}, change, text("x"))]))
    assert done.request.messages[0].content == "x"
    assert codes(done) == {"thinking_dropped": "messages.0.content.0"}


def test_a_file_for_a_server_without_parts_is_refused() -> None:
    switches = {"parts": False, "pdf": True, "pdf_urls": True}
    for source in (PDF, {"type": "url", "url": "https://e.com/a.pdf"}):
        assert "does not support PDF input" in refusal(body(messages=[user(document(source))]), switches)
