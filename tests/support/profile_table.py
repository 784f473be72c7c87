"""What the built-in profiles come to, as one JSON value: hosts, efforts, switches by profile and model, limits.

Rule: ``tests/data/profiles.json`` holds it, so that a change of a profile shows what it changes, and no line of the
profile files can be lost unseen.  ``python -m tests.support.profile_table`` writes the file anew; read the difference.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec

from ccproxy_sanic.profiles import BUILTIN, GENERIC, Profile, resolve

FILE = Path(__file__).parents[1] / "data" / "profiles.json"
DEFAULTS = msgspec.to_builtins(Profile(name=""))


def table() -> dict[str, Any]:
    efforts: dict[str, Any] = {}
    profiles = {name: _models(name, efforts) for name in BUILTIN.names()}
    hosts = {host: name for name, entry in BUILTIN.entries.items() for host in entry.hosts}
    limits = {model: _changed(BUILTIN.build(GENERIC, model=model), efforts) for model in BUILTIN.limits}
    return {"hosts": hosts, "profiles": profiles, "efforts": efforts, "limits": limits}


def _models(name: str, efforts: dict[str, Any]) -> dict[str, Any]:
    """By example of a model for each pattern; "" is a model of no family, with "elsewhere" at a host of its own."""
    lineage = [BUILTIN.entries[ancestor] for ancestor in BUILTIN.lineage(name)]
    patterns = [pattern for entry in lineage for family in entry.families for pattern in family.match]
    hosts = BUILTIN.entries[name].hosts
    at_home = f"https://{hosts[0].replace('*', 'x')}/v1" if hosts else "http://127.0.0.1:1/v1"
    found = {
        pattern: _changed(resolve(at_home, _example(pattern), name), efforts)
        for pattern in ["", *dict.fromkeys(patterns)]
    }
    plain = found[""]
    found = {
        pattern: {key: value for key, value in one.items() if plain.get(key) != value} for pattern, one in found.items()
    }
    return found | {"": plain, "elsewhere": _changed(BUILTIN.build(name), efforts) if hosts else {}}


def _example(pattern: str) -> str:
    return re.sub(r"\[(.)[^]]*\]", r"\1", pattern).replace("*", "").replace("?", "1")


def _changed(profile: Profile, efforts: dict[str, Any]) -> dict[str, Any]:
    """The switches that are not as by default; an effort by its dialect's name."""
    found = msgspec.to_builtins(profile)
    changed = {key: value for key, value in found.items() if value != DEFAULTS[key] and key != "name"}
    for name, dialect in BUILTIN.dialects.items():
        if "effort" in changed and changed["effort"] == dialect:
            changed["effort"] = name
            efforts[name] = dialect
            break
    return changed


if __name__ == "__main__":
    FILE.write_text(json.dumps(table(), indent=1) + "\n", encoding="utf-8")
