"""A proxy that has no file descriptor left says so in Anthropic's shape, and goes on when it has some again."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from tests.support.descriptors import exhausted
from tests.support.proxy import events, message, serving
from tests.support.server_process import serve
from tests.support.upstream import ScriptedUpstream, text_stream


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_requests_fail_with_a_clear_fault_and_the_process_lives(stream: bool) -> None:
    async with ScriptedUpstream([text_stream("well")]) as upstream:
        async with serving(upstream.base_url, PROVIDER_MAX_RETRIES="0") as proxy:
            assert (await proxy.client.get("/health")).status_code == 200  # the client's connection is there
            with exhausted():
                for _ in range(2):
                    refused = await proxy.post(message(stream=stream))
                    assert refused.status_code == 500
                    assert refused.json()["error"] == {
                        "type": "api_error",
                        "message": "Could not connect to local: this proxy has no file descriptor left",
                    }
            response = await proxy.post(message(stream=True))
            assert [name for name, _ in events(response.content)][-1] == "message_stop"


def test_the_limit_is_raised_at_start(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))  # the process inherits it
    try:
        with serve(tmp_path) as server:
            limits = Path(f"/proc/{server.process.pid}/limits")
            if limits.exists():
                [line] = [line for line in limits.read_text().splitlines() if line.startswith("Max open files")]
                assert int(line.split()[3]) > 512
            server.terminate()  # then all lines are written
            assert "the limit of open files is raised from 512 to" in server.output
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
