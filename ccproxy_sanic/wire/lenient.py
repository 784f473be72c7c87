"""JSON that is not as documented, fitted into the structs that are.

Rule: whatever is JSON becomes the struct asked for: a member that does not fit is converted where its meaning is plain
(a number for a string, a number in a string) and is None where it is not.  Nothing raises but what is no JSON at all.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import inspect

from ..errors import Garbled

NOT_JSON: Final = "The upstream sent something that is not JSON"
TOO_DEEP: Final = "The upstream sent JSON that is nested too deeply"
_DONE: Final = ("[DONE]", '"[DONE]"')
_JSON: Final = json.JSONDecoder(parse_constant=lambda _: None, strict=False)
_DEEP: Final = 400  # levels; below CPython's recursion limit with room for the caller

S = TypeVar("S", bound=msgspec.Struct)


def _inner(value: Any) -> str | None:
    if isinstance(value, list):
        return "".join([_inner(item) or "" for item in value])
    if isinstance(value, dict):
        return next((found for key in ("text", "content", "summary") if (found := _inner(value.get(key)))), None)
    return _text(value)


def _written(value: Any) -> str | None:
    if isinstance(value, dict):  # whole objects are taken as they are
        return None
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


# A member's type says how a value that does not fit is converted, where it is not as for every other of its type.
Inner = Annotated[str, msgspec.Meta(extra={"fit": _inner})]  # the text, also where an object or a list is around it
Written = Annotated[str, msgspec.Meta(extra={"fit": _written})]  # JSON as text, also where it is no text


def objects(payload: bytes) -> tuple[list[dict[str, Any]], bool]:
    """All objects in a payload, and whether ``[DONE]`` stood among them.

    Several values may follow each other; lists are taken apart; null, numbers and strings say nothing.  Raises
    Garbled.
    """
    text = payload.decode("utf-8", "replace").lstrip("\ufeff").strip()
    found: list[dict[str, Any]] = []
    at = 0
    while at < len(text):
        if text.startswith(_DONE, at):
            return found, True
        try:
            value, at = _JSON.raw_decode(text, at)
            value = _scrubbed(value, 0)
        except RecursionError:
            raise Garbled(TOO_DEEP) from None
        except ValueError:
            raise Garbled(NOT_JSON) from None
        found += [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, dict)]
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
    return found, False


def _scrubbed(value: Any, depth: int) -> Any:
    """``value`` with every lone surrogate replaced: JSON can write one, UTF-8 can't."""
    if depth > _DEEP:
        raise RecursionError
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [_scrubbed(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_scrubbed(key, 0): _scrubbed(item, depth + 1) for key, item in value.items()}
    return value


def fitted(value: dict[str, Any], struct: type[S]) -> S:
    """``value`` as ``struct``, all of whose members must have None as their default."""
    found: S = _fit(value, _shape(struct))
    return found


@cache
def _shape(struct: type[msgspec.Struct]) -> inspect.Type:
    return inspect.type_info(struct)


def _fit(value: Any, shape: inspect.Type) -> Any:
    """``value`` in the given shape, or None."""
    if value is None or isinstance(shape, inspect.AnyType):
        return value
    if isinstance(shape, inspect.Metadata) and shape.extra is not None:
        return shape.extra["fit"](value)
    if isinstance(shape, inspect.UnionType):
        for each in shape.types:
            found = _fit(value, each)
            if found is not None:
                return found
        return None
    if isinstance(shape, inspect.StructType):
        if not isinstance(value, dict):
            return None
        return shape.cls(**{field.name: _fit(value.get(field.encode_name), field.type) for field in shape.fields})
    if isinstance(shape, inspect.ListType):
        fitting = [_fit(item, shape.item_type) for item in (value if isinstance(value, list) else [value])]
        return [item for item in fitting if item is not None]
    if isinstance(shape, inspect.DictType):
        return value if isinstance(value, dict) else None
    return _SCALARS[type(shape)](value)


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole_number(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return int(value)
    except (ValueError, OverflowError):
        return None


def _nothing(_: Any) -> None:
    return None


_SCALARS: Final = {inspect.StrType: _text, inspect.IntType: _whole_number, inspect.NoneType: _nothing}
