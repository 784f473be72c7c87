"""The proxy with a sampler inside, for machines without py-spy.

    python -m bench.sampled        serves like `ccproxy serve`; its end writes stacks.folded in the working directory

Rule: the proxy's code is not touched.  A timer that runs on the process's CPU time interrupts the main thread; its
stack is counted.  Time inside C code is charged to the Python line that called it; imports are left out.
"""

from __future__ import annotations

import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Final

STACKS: Final = "stacks.folded"
EVERY: Final = 0.002  # seconds of CPU time
ROOTS: Final = tuple(f"{path}/" for path in sorted(filter(None, sys.path), key=len, reverse=True))
DEEPEST: Final = 80

_stacks: Counter[tuple[str, ...]] = Counter()
_names: dict[object, str] = {}


def name_of(code: object, file: str, function: str) -> str:
    """``package/module.py:function``, without the folder that it is installed in."""
    known = _names.get(code)
    if known is None:
        short = next((file[len(root) :] for root in ROOTS if file.startswith(root)), file.rpartition("/")[2])
        known = _names[code] = f"{short}:{function}"
    return known


def sample(number: int, frame: FrameType | None) -> None:
    stack: list[str] = []
    while frame is not None and len(stack) < DEEPEST:
        code = frame.f_code
        stack.append(name_of(code, code.co_filename, code.co_qualname))
        frame = frame.f_back
    _stacks[tuple(stack[::-1])] += 1


def main() -> int:
    from ccproxy_sanic.cli import main as command

    signal.signal(signal.SIGPROF, sample)
    signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)
    try:
        return command(["serve"])
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        lines = [
            f"{';'.join(stack)} {count}\n"
            for stack, count in _stacks.items()
            if not any(name.startswith("<frozen importlib") for name in stack)
        ]
        Path(STACKS).write_text("".join(lines))


if __name__ == "__main__":
    sys.exit(main())
