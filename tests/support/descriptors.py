"""A process that has no file descriptor left, for a while."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator

SPARE = 64  # how many are taken; few, so that it is quick


@contextlib.contextmanager
def exhausted() -> Iterator[None]:
    """Within it nothing can be opened; afterwards the old limit holds again."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = os.open(os.devnull, os.O_RDONLY)
    taken = [highest]
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + SPARE, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
