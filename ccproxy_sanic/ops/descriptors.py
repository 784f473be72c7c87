"""How many files and sockets the process may have open.

Rule: what the system would allow is asked for, at start; running out later is a fault of single requests and never of
the process.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from typing import Any, Final

# missing on Windows, which has no such limit
resource: Any = importlib.import_module("resource") if importlib.util.find_spec("resource") else None
log = logging.getLogger("ccproxy")
ENOUGH: Final = 65_536  # where the system names no limit; some systems make a table of that size


def raise_limit() -> int | None:
    """Raise the soft limit (RLIMIT_NOFILE) to the hard one.  Returns what is in force, None where nothing limits."""
    if resource is None:
        return None
    soft: int
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted: int = ENOUGH if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError) as error:  # macOS allows less than it says
            log.warning("the limit of open files stays at %d: %s", soft, error)
            return soft
        log.info("the limit of open files is raised from %d to %d", soft, wanted)
        return wanted
    return None if soft == resource.RLIM_INFINITY else soft
