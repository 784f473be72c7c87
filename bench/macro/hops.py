"""What the actors cost one request: two asks and three notes, as the pipeline sends them.

    python -m bench.macro.hops        prints CPU us per request

Rule: the same operations as bench/micro/bench_actors.py, timed by the process's CPU clock.
"""

from __future__ import annotations

import statistics
import time

import uvloop

from actors import Limits
from bench.micro.bench_actors import House, whole_request

REQUESTS = 1000
ROUNDS = 15


async def measured() -> float:
    house = await House(Limits()).start()
    took: list[float] = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(REQUESTS):
            await whole_request(house)
        took.append((time.process_time() - began) / REQUESTS * 1e6)
    await house.supervisor.stop()
    return statistics.median(took)


if __name__ == "__main__":
    print(round(uvloop.run(measured()), 2))
