"""The demo model as a program of its own."""

from __future__ import annotations

import asyncio
import signal
import sys

import openai


async def test_the_module_says_its_address_serves_and_ends_on_sigterm() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ccproxy_sanic.demo", "--pace", "0.001", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    base_url = (await process.stdout.readline()).decode().strip()
    async with openai.AsyncOpenAI(base_url=base_url, api_key="x", max_retries=0) as client:
        answer = await client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": "[demo:long n=3]"}]
        )
    assert answer.choices[0].message.content == "word0 word1 word2"
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 10) == 0
    rest = (await process.stdout.read()).decode()
    assert all(path in rest for path in ("/v1/chat/completions", "/v1/responses", "/v1/messages"))
