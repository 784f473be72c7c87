"""A constant answer from Sanic, with nothing around it: what a cold start and a request cost at the very least.

    python -m bench.macro.bare --port 9000

Rule: imports Sanic and nothing of the project.
"""

from __future__ import annotations

import argparse
from typing import Any, Final

from sanic import HTTPResponse, Request, Sanic

ANSWER: Final = (
    b'{"id":"msg_bare","type":"message","role":"assistant","model":"bare","content":[{"type":"text","text":"ok"}],'
    b'"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}'
)


def main() -> None:
    parser = argparse.ArgumentParser(description="A constant answer from Sanic.")
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    app: Sanic[Any, Any] = Sanic("bare", configure_logging=False)
    app.config.update(ACCESS_LOG=False, MOTD=False, AUTO_EXTEND=False)

    async def answer(request: Request) -> HTTPResponse:
        return HTTPResponse(ANSWER, 200, None, "application/json")

    app.add_route(answer, "/v1/messages", methods=["POST"], name="messages")
    app.add_route(answer, "/ready", name="ready")
    app.run("127.0.0.1", given.port, single_process=True, access_log=False, backlog=4096)


if __name__ == "__main__":
    main()
