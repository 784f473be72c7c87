"""The catalogue of profiles in force: ours, and what the user's file (CCPROXY_PROFILES) adds or corrects.

Rule: a fault in that file is one line that names it, said before anything is served.
"""

from __future__ import annotations

from pathlib import Path

from ccproxy_sanic.profiles import BUILTIN, Catalog, CatalogError, load


def read(path: Path | None) -> Catalog:
    """The built-in catalogue with the file's profiles over it.  Raises CatalogError."""
    if path is None:
        return BUILTIN
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise CatalogError(f"{path.name} can't be read: {reason}") from None
    return load(text, path.name, BUILTIN)
