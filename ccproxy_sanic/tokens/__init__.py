"""How many tokens a request is, before anybody has been asked (protocol.md 6).

Rule: nothing is ever downloaded; vocabularies come with the packages, are loaded on first use, and off the loop.
"""

from __future__ import annotations

from ccproxy_sanic.tokens.counter import Memory, TokenCounter, pool_size
from ccproxy_sanic.tokens.prompt import Prompt, prompt_of

__all__ = ["Memory", "Prompt", "TokenCounter", "pool_size", "prompt_of"]
