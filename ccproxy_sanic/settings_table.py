"""Every setting there is, in one table.

Rule: :data:`TABLE` is the only list of settings: reading, ``ccproxy check`` and docs/settings.md are made from it, and
nothing is in it that nothing reads.
"""

from __future__ import annotations

from typing import Final

from ccproxy_sanic.settings_row import Setting
from ccproxy_sanic.settings_rows_actors import ACTORS
from ccproxy_sanic.settings_rows_edges import EDGES
from ccproxy_sanic.settings_rows_guards import GUARDS
from ccproxy_sanic.settings_rows_house import HOUSE

_LAST: Final = "Read before the others"
SECTIONS: Final[dict[str, tuple[Setting, ...]]] = {
    **{title: rows for title, rows in EDGES.items() if title != _LAST},
    **HOUSE,
    **ACTORS,
    **GUARDS,
    _LAST: EDGES[_LAST],
}
TABLE: Final = {setting.name: setting for section in SECTIONS.values() for setting in section}


def markdown() -> str:
    """docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "From the environment and `.env` in the working directory; the environment wins.  An empty value counts as not",
        "set, unless the meaning says otherwise.  `ccproxy check` prints what is in force and where it comes from.",
    ]
    for title, settings in SECTIONS.items():
        lines += ["", f"## {title}", "", "| Name | Value | Default | Meaning |", "| --- | --- | --- | --- |"]
        for setting in settings:
            name = f"`{setting.name}`" + (" (secret)" if setting.secret else "")
            lines.append(f"| {name} | {setting.kind} | {setting.default_text} | {setting.meaning} |")
    return "\n".join(lines) + "\n"
