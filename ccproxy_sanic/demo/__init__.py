"""The embedded upstream: a model that is a script, for a first run without a key and for tests.

Rule: it is reached over real HTTP on its own loopback port, as any upstream; the proxy has no path that knows it.

``start`` serves inside a running loop; ``python -m ccproxy_sanic.demo --port N --pace 0.02`` serves alone.
It speaks Chat Completions and Responses as OpenAI does, and Messages as Anthropic does: ``endpoints.ENDPOINTS``.
What it answers is chosen by a marker in the prompt: ``scenarios.SCENARIOS`` is the table.
"""

from __future__ import annotations

from ccproxy_sanic.demo.scenarios import SCENARIOS
from ccproxy_sanic.demo.serving import MODELS, DemoServer, Stats, start

__all__ = ["MODELS", "SCENARIOS", "DemoServer", "Stats", "start"]
