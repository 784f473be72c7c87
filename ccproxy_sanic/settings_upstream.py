"""Which upstream the keys and the base URL mean.

Rule: :data:`CHOICES` decides for every combination, and a key is sent only where the table says.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import msgspec

from ccproxy_sanic.masking import Secret, mask

OPENAI: Final = "https://api.openai.com/v1"
OPENROUTER: Final = "https://openrouter.ai/api/v1"

# label -> (big, small); a server of one's own gets OpenAI's names, and a warning
DEFAULT_MODELS: Final = {
    "openai": ("gpt-5-2025-08-07", "gpt-5-mini-2025-08-07"),
    "openrouter": ("openai/gpt-5", "openai/gpt-5-mini"),
    "anthropic": ("claude-opus-5-5", "claude-haiku-5-5"),
    "demo": ("demo-big", "demo-small"),
}

Resolve = Callable[[str], Iterable[str]]


class Upstream(msgspec.Struct, frozen=True):
    """Where requests go.  ``label`` is its name in messages and metrics; the demo's URL is known at start."""

    label: str
    base_url: str
    api_key: Secret | None = None
    demo: bool = False


class _Choice(NamedTuple):
    base: Literal["demo", "openai", "openrouter", "given"]
    key: Literal["none", "openai", "openrouter", "by host", "openrouter only"]


# (OPENAI_API_KEY set, OPENROUTER_API_KEY set, OPENAI_BASE_URL set)
CHOICES: Final = {
    (False, False, False): _Choice("demo", "none"),
    (True, False, False): _Choice("openai", "openai"),
    (False, True, False): _Choice("openrouter", "openrouter"),
    (True, True, False): _Choice("openai", "openai"),
    (False, False, True): _Choice("given", "none"),
    (True, False, True): _Choice("given", "openai"),
    (False, True, True): _Choice("given", "openrouter only"),  # at OpenRouter's host; elsewhere no key and a warning
    (True, True, True): _Choice("given", "by host"),  # OpenRouter's at its host, else OpenAI's
}

# End of the host name -> label
HOSTS: Final = {
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "openai.azure.com": "azure",
    "openrouter.ai": "openrouter",
    "deepseek.com": "deepseek",
    "generativelanguage.googleapis.com": "gemini",
    "groq.com": "groq",
    "mistral.ai": "mistral",
    "together.xyz": "together",
    "together.ai": "together",
    "fireworks.ai": "fireworks",
    "cerebras.ai": "cerebras",
    "x.ai": "xai",
    "moonshot.ai": "moonshot",
    "moonshot.cn": "moonshot",
    "z.ai": "zai",
    "bigmodel.cn": "zai",
    "aliyuncs.com": "dashscope",
    "minimax.io": "minimax",
    "minimaxi.com": "minimax",
    "siliconflow.cn": "siliconflow",
    "siliconflow.com": "siliconflow",
}
EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 (compared, not bound)
_TAILS: Final = ("/chat/completions", "/completions", "/responses", "/messages", "/models")


class Faulty(ValueError):
    """A base URL can't be used; the text is the reason."""


def label_of(host: str) -> str:
    """The provider's name; ``local`` for this machine and its network, else ``upstream``: never the address itself."""
    for end, label in HOSTS.items():
        if host == end or host.endswith("." + end):
            return label
    return "local" if is_near(host) else "upstream"


def is_loopback(host: str) -> bool:
    """Whether a name or an address surely means this machine; the wildcard does too, when something connects to it."""
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def is_near(host: str) -> bool:
    """Whether a host is this machine or one of its own network: by its address, or a name without a public suffix."""
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return "." not in host or host.endswith((".localhost", ".local", ".internal", ".lan"))
    return address.is_private or address.is_loopback or address.is_link_local


def normalise(url: str, keys: str = "OPENAI_API_KEY") -> tuple[str, list[str]]:
    """A base URL that ``/chat/completions`` can be appended to, and warnings about it.

    ``keys`` says where a key belongs.  Raises :class:`Faulty`.
    """
    warnings: list[str] = []
    if "://" not in url:
        raise Faulty(
            f"must begin with http:// or https://, as in http://{mask(url[:80])}" if _HOSTLIKE.match(url) else _NOT_URL
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Faulty(_NOT_URL) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or not url.isascii() or " " in url:
        raise Faulty(_NOT_URL)
    if "@" in parts.netloc:
        raise Faulty(f"must not hold a user name or a password: put the key in {keys}")
    if parts.query or parts.fragment:
        raise Faulty("must not hold a query string or a fragment (? or #)")
    path = parts.path.rstrip("/")
    for tail in _TAILS:
        if path.endswith(tail):
            path = path.removesuffix(tail).rstrip("/")
            warnings.append(f"{tail} at its end is left out, the proxy adds the path itself")
            break
    if not path and is_near(parts.hostname):
        path = "/v1"
        warnings.append("it has no path, /v1 is added, as every local server wants it")
    return urlunsplit((parts.scheme, parts.netloc, path, "", "")), warnings


_HOSTLIKE: Final = re.compile(r"[\w.-]+(:\d{1,5})?(/[\w./-]*)?$", re.ASCII)
OPEN_KEY: Final = "the key travels over http:// unencrypted"
_NOT_URL: Final = "is no http:// or https:// address"


def resolve(openai: Secret | None, openrouter: Secret | None, url: str | None) -> tuple[Upstream, list[str]]:
    """The upstream and warnings.  Raises :class:`Faulty`."""
    choice = CHOICES[openai is not None, openrouter is not None, url is not None]
    if choice.base == "demo":
        return Upstream("demo", "", demo=True), []
    given = {"openai": OPENAI, "openrouter": OPENROUTER}.get(choice.base, url or "")
    base_url, remarks = normalise(given)
    label = label_of(urlsplit(base_url).hostname or "")
    warnings = [f"OPENAI_BASE_URL: {remark}" for remark in remarks]
    key: Secret | None = None
    if choice.key == "openai" or (choice.key == "by host" and label != "openrouter"):
        key = openai
    elif choice.key != "none" and label == "openrouter":
        key = openrouter
    elif choice.key == "openrouter only":
        warnings.append(
            "OPENROUTER_API_KEY is not sent to OPENAI_BASE_URL, which is not OpenRouter's: "
            "put that server's key in OPENAI_API_KEY"
        )
    if key is not None and is_unencrypted(base_url):
        warnings.append(f"OPENAI_BASE_URL: {OPEN_KEY}")
    return Upstream(label, base_url, key), warnings


def is_unencrypted(base_url: str) -> bool:
    """Whether everybody between here and the upstream can read a key on its way."""
    parts = urlsplit(base_url)
    return parts.scheme == "http" and not is_near(parts.hostname or "")


def is_own_address(base_url: str, host: str, port: int, resolve_name: Resolve) -> bool:
    """Whether requests to ``base_url`` would come back to a proxy that listens on ``host``:``port``."""
    parts = urlsplit(base_url)
    name = parts.hostname or ""
    if (parts.port or {"http": 80}.get(parts.scheme, 443)) != port:
        return False
    theirs = {name, *resolve_name(name)}
    if is_loopback(host):
        return any(map(is_loopback, theirs)) or (host in EVERYWHERE and not theirs.isdisjoint(resolve_name("")))
    return not theirs.isdisjoint({host, *resolve_name(host)})
