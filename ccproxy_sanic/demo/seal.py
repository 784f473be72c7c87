"""Text that only the demo can have written: what stands for encrypted reasoning and for a signature.

Rule: no memory is needed to know one's own; a changed one is not known.  It hides nothing: the text is in it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final

KEY: Final = b"the demo model has no secret"
PREFIX: Final = "demo-sealed-"


def seal(purpose: str, text: str) -> str:
    """``purpose`` is what it is for; it has to be named again to open it."""
    packed = base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).decode()
    return f"{PREFIX}{_mark(purpose, packed)}.{packed}"


def unseal(purpose: str, sealed: str) -> str | None:
    """The text; None if the demo didn't seal it for this purpose."""
    mark, _, packed = sealed.removeprefix(PREFIX).partition(".")
    if not sealed.startswith(PREFIX) or mark != _mark(purpose, packed):
        return None
    try:
        return base64.urlsafe_b64decode(packed).decode("utf-8", "surrogatepass")
    except (binascii.Error, UnicodeDecodeError):
        return None


def _mark(purpose: str, packed: str) -> str:
    return hashlib.blake2s(f"{purpose}\n{packed}".encode("utf-8", "surrogatepass"), key=KEY, digest_size=16).hexdigest()
