"""Content blocks as parts of Responses items (protocol.md 8, user and tool_result).

Rule: what a block says is decided by translate.blocks; here it only gets this API's shape, in its place.
"""

from __future__ import annotations

from typing import Final

from ccproxy_sanic.translate import results
from ccproxy_sanic.translate.adjustments import Path
from ccproxy_sanic.translate.scope import Scope
from ccproxy_sanic.wire.anthropic import Block, CacheControl
from ccproxy_sanic.wire.openai_chat import FilePart, ImagePart, Part, TextPart
from ccproxy_sanic.wire.openai_responses import InputFile, InputImage, InputPart, InputText

ERROR: Final = "Error:"


def sent(part: Part) -> InputPart:
    """The same part as this API has it."""
    if isinstance(part, InputText):
        return part
    if isinstance(part, TextPart):
        return InputText(part.text)
    if isinstance(part, ImagePart):
        return InputImage(part.image_url.url)
    return _file(part)


def _file(part: FilePart) -> InputFile:
    data = part.file.file_data
    return InputFile(part.file.filename, data) if data.startswith("data:") else InputFile(file_url=data)


def output_of(block: Block, scope: Scope, path: Path) -> str | list[InputPart]:
    """One ``tool_result``: a string, or a list where there are images, documents or a cache mark."""
    if isinstance(block.content, str):
        return _whole(results.words(block), block.cache_control, scope)
    found, mark = results.pieces(block, scope, path)
    parts = [part for _, part in found]
    texts = [part for part in parts if isinstance(part, TextPart)]
    text = "\n".join(part.text for part in texts)
    fails = bool(block.is_error) and results.failed(text) != text
    if len(texts) == len(parts):
        return _whole(results.failed(text) if fails else text, mark, scope)
    if fails and texts:
        texts[0].text = results.failed(texts[0].text)
    elif fails:
        parts.insert(0, TextPart(ERROR))
    last = texts[-1] if texts else None  # it gets the cache mark
    return [sent(scope.text(last.text, mark) if last is not None and part is last else part) for part in parts]


def _whole(text: str, mark: CacheControl | None, scope: Scope) -> str | list[InputPart]:
    return text if mark is None or not scope.marks else [sent(scope.text(text, mark))]
