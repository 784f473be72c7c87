"""What an upstream must get back next turn travels in the signature of a thinking block (protocol.md 2.3).

Rule: only what we signed comes back out; everything else is None, never an error.  The key is an argument.

Kinds: ``plain`` (data "", or the reasoning text where the client does not get to see it), ``or`` (OpenRouter's
reasoning_details, a list), ``oai`` (what a Responses reasoning item needs: {id, encrypted_content, phase}), ``gem``
({tool_use id: thought_signature}).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import zlib
from typing import Any, Final

import msgspec

PREFIX: Final = "ppx1."
MAX_BYTES: Final = 256 * 1024  # of the signature, and of what is in it
_MAC_BYTES: Final = 16


class Carrier(msgspec.Struct):
    provider: str = msgspec.field(name="p")
    model: str = msgspec.field(name="m")
    kind: str = msgspec.field(name="k")
    data: Any = msgspec.field(name="d", default="")


_decode: Final = msgspec.json.Decoder(Carrier).decode


def sign(key: bytes, provider: str, model: str, kind: str, data: object) -> str:
    """A signature that carries ``data`` (JSON values).  What is too large is left out: the signature then only marks
    the block as ours, because a thinking block without a signature is worse than one without its data."""
    signature = _sign(key, Carrier(provider, model, kind, data))
    return signature if signature is not None else _sign(key, Carrier(provider[:256], model[:256], "plain")) or PREFIX


def _sign(key: bytes, carrier: Carrier) -> str | None:
    try:
        plain = msgspec.json.encode(carrier)
    except (RecursionError, UnicodeEncodeError):  # an upstream's data, nested without end or not Unicode
        return None
    if len(plain) > MAX_BYTES:
        return None
    packed = zlib.compress(plain)
    signature = PREFIX + base64.urlsafe_b64encode(_mac(key, packed) + packed).rstrip(b"=").decode("ascii")
    return signature if len(signature) <= MAX_BYTES else None


def unsign(key: bytes, signature: str) -> Carrier | None:
    """What :func:`sign` put in, or None: foreign, forged, damaged or too large."""
    if not signature.startswith(PREFIX) or len(signature) > MAX_BYTES:
        return None
    encoded = signature[len(PREFIX) :].rstrip("=")
    try:
        raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        return None
    packed = raw[_MAC_BYTES:]
    if not hmac.compare_digest(raw[:_MAC_BYTES], _mac(key, packed)):
        return None
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(packed, MAX_BYTES)
        return _decode(plain) if inflater.eof else None
    except (zlib.error, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def fits(carrier: Carrier, provider: str, model: str) -> bool:
    """Whether ``model`` at ``provider`` can use what is carried: the same provider and the same family of models.

    Gateways offer many vendors' models, and one vendor's encrypted reasoning is an error at another (protocol.md 2.3).
    """
    return carrier.provider == provider and _family(carrier.model) == _family(model)


def _family(model: str) -> str:
    """``gpt`` of ``openai/gpt-5-mini``: the letters that a model's own name begins with."""
    name = model.lower().rpartition("/")[2]
    return name[: next((at for at, letter in enumerate(name) if not letter.isalpha()), len(name))]


def _mac(key: bytes, packed: bytes) -> bytes:
    return hmac.digest(key, packed, hashlib.sha256)[:_MAC_BYTES]
