"""Refusals that name another API (protocol.md 5.6)."""

from __future__ import annotations

import pytest

from ccproxy_sanic.errors import Broken, ProxyError, Refused
from ccproxy_sanic.translate.second_try import api_named_by

TOOLS = (
    "Function tools with reasoning_effort are not supported for gpt-5.6 in /v1/chat/completions. To use function tools,"
    " use /v1/responses or set reasoning_effort to 'none'."
)
ONLY = "This model is only supported in v1/responses and not in v1/chat/completions."


@pytest.mark.parametrize(
    ("fault", "api"),
    [
        (Refused(TOOLS, status=400), "responses"),
        (Refused(f"litellm.BadRequestError: {TOOLS}", status=400), "responses"),
        (Refused(ONLY, status=404), "responses"),
        (Refused(ONLY, status=500), None),
        (Refused("Function tools are not supported.", status=400), None),
        (Refused("use /v1/responses", status=400), None),
        (Refused("x" * 3_000 + ONLY, status=400), None),
        (Broken(ONLY), None),
    ],
)
def test_only_the_known_wordings_name_an_api(fault: ProxyError, api: str | None) -> None:
    assert api_named_by(fault) == api
