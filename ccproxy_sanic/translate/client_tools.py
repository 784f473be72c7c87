"""Tools that Anthropic defines and the client runs: declared to other models as functions of our own wording.

Rule: the names of the arguments are Anthropic's, because the client executes them (protocol.md 1.5).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ccproxy_sanic.wire.anthropic import Tool


class ClientTool(msgspec.Struct, frozen=True):
    """``name`` where the entry gives none; ``parameters`` a JSON schema."""

    name: str
    description: str
    parameters: dict[str, Any]


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _choice(description: str, *values: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(values), "description": description}


def _pair(description: str) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "integer"}, "description": description}


def _object(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = list(required)
    return schema


_LINES: Final = _pair("For view: first and last line to show, counted from 1; -1 as last means the end.")
_EDITS: Final[dict[str, Any]] = {
    "path": _text("Path of the file or directory."),
    "file_text": _text("For create: the file's content."),
    "old_str": _text("For str_replace: the exact text to replace; it must occur once."),
    "new_str": _text("For str_replace: the text to put in its place."),
    "insert_line": {
        "type": "integer",
        "description": "For insert: the line after which to insert; 0 is the beginning.",
    },
    "insert_text": _text("For insert: the text to insert."),
    "view_range": _LINES,
}

_BASH: Final = ClientTool(
    "bash",
    "Run a command in a persistent bash shell.",
    _object(
        {
            "command": _text("The bash command to run."),
            "restart": {"type": "boolean", "description": "Set true to restart the shell."},
        }
    ),
)
_EDIT_ABOUT: Final = "View, create and edit text files."
_EDITOR: Final = ClientTool(
    "str_replace_based_edit_tool",
    _EDIT_ABOUT,
    _object(
        {"command": _choice("What to do.", "view", "create", "str_replace", "insert"), **_EDITS}, "command", "path"
    ),
)
_EDITOR_WITH_UNDO: Final = ClientTool(
    "str_replace_editor",
    _EDIT_ABOUT,
    _object(
        {"command": _choice("What to do.", "view", "create", "str_replace", "insert", "undo_edit"), **_EDITS},
        "command",
        "path",
    ),
)
_MEMORY: Final = ClientTool(
    "memory",
    "Read and write files under /memories, which stay between conversations.",
    _object(
        {
            "command": _choice("What to do.", "view", "create", "str_replace", "insert", "delete", "rename"),
            **{key: value for key, value in _EDITS.items() if key != "view_range"},
            "old_path": _text("For rename: the present path."),
            "new_path": _text("For rename: the new path."),
            "view_range": _LINES,
        },
        "command",
    ),
)
_BASIC_ACTIONS: Final = (
    *("key", "type", "mouse_move", "left_click", "left_click_drag", "right_click", "middle_click", "double_click"),
    *("screenshot", "cursor_position"),
)
_MORE_ACTIONS: Final = (
    *_BASIC_ACTIONS,
    *("left_mouse_down", "left_mouse_up", "scroll", "hold_key", "wait", "triple_click"),
)


def _computer(actions: tuple[str, ...], **more: dict[str, Any]) -> ClientTool:
    return ClientTool(
        "computer",
        "Use a computer's screen, mouse and keyboard, and take screenshots.",
        _object(
            {
                "action": _choice("What to do.", *actions),
                "coordinate": _pair("x and y in pixels from the upper left corner, for mouse actions."),
                "text": _text("The text to type, or the key or keys to press."),
                **more,
            },
            "action",
        ),
    )


_MORE: Final[dict[str, dict[str, Any]]] = {
    "start_coordinate": _pair("x and y where a drag begins."),
    "scroll_direction": _choice("For scroll.", "up", "down", "left", "right"),
    "scroll_amount": {"type": "integer", "description": "For scroll: how many clicks of the wheel."},
    "duration": {"type": "number", "description": "For hold_key and wait: seconds."},
}

CLIENT_TOOLS: Final[dict[str, ClientTool]] = {
    "bash_20241022": _BASH,
    "bash_20250124": _BASH,
    "text_editor_20241022": _EDITOR_WITH_UNDO,
    "text_editor_20250124": _EDITOR_WITH_UNDO,
    "text_editor_20250429": _EDITOR,
    "text_editor_20250728": _EDITOR,
    "memory_20250818": _MEMORY,
    "computer_20241022": _computer(_BASIC_ACTIONS),
    "computer_20250124": _computer(_MORE_ACTIONS, **_MORE),
    "computer_20251124": _computer(
        (*_MORE_ACTIONS, "zoom"),
        **_MORE,
        region=_pair("For zoom: x and y of the upper left and the lower right corner."),
    ),
}


def description_of(tool: Tool, known: ClientTool) -> str:
    """Our words, with the size of the screen where the entry tells it."""
    if tool.display_width_px and tool.display_height_px:
        return f"{known.description} The screen has {tool.display_width_px} x {tool.display_height_px} pixels."
    return known.description
