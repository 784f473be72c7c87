"""Which profile an upstream and a model get.

Rule: the platform is decided by the base URL first and the model's family second; the same model needs different
switches on different platforms (peers.md part 4, last line).  An unknown host and a loopback address are ``generic``.

Everything here is a pure function of the catalogue, which is data: TOML files, ours and the user's.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from ccproxy_sanic.profiles.model import Profile

GENERIC: Final = "generic"
_ENTRY_KEYS: Final = ("based_on", "hosts", "at_host", "family")
_SWITCHES: Final = frozenset(field.name for field in msgspec.structs.fields(Profile)) - {"name"}


class CatalogError(ValueError):
    """A fault in a profile file; the message is one line that names the file, the profile and the switch."""


class FamilyTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[[profile.NAME.family]]``: switches of the models whose names match one of the patterns."""

    match: tuple[str, ...]
    set: dict[str, Any]


class LimitsTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[[limits]]``: switches of models, wherever they are served."""

    models: tuple[str, ...]
    set: dict[str, Any]


class Layer(msgspec.Struct, frozen=True):
    """Switches and where they are written: file and table."""

    where: str
    set: dict[str, Any]


class Family(msgspec.Struct, frozen=True):
    match: tuple[str, ...]
    layer: Layer

    def pattern(self, plain: str) -> str | None:
        """The first pattern that the model's name fits."""
        return next((pattern for pattern in self.match if fnmatchcase(plain, pattern)), None)


class Entry(msgspec.Struct, frozen=True):
    """One profile of the catalogue: its own switches over those of ``based_on``, and what host and model add.

    Of a profile that several files speak of, each file's part is a layer of its own, the last file's last.
    """

    switches: tuple[Layer, ...]
    based_on: str | None = None
    hosts: tuple[str, ...] = ()
    at_host: tuple[Layer, ...] = ()
    families: tuple[Family, ...] = ()
    origins: tuple[str, ...] = ()  # the files that speak of it


class Catalog(msgspec.Struct, frozen=True, eq=False):
    """All that is known: profiles by name, effort dialects by name, limits by model.  Equal only to itself."""

    entries: dict[str, Entry]
    dialects: dict[str, dict[str, Any]]
    limits: dict[str, Layer]

    def names(self) -> tuple[str, ...]:
        return tuple(self.entries)

    def layers(self, name: str, *, model: str = "", at_host: bool = False) -> list[Layer]:
        """What the profile ``name`` is made of, for one model if given; later layers win.  Raises CatalogError."""
        if name not in self.entries:
            raise CatalogError(f"there is no profile {name!r}{_nearest(name, self.entries)}")
        plain = plain_model(model)
        lineage = [self.entries[ancestor] for ancestor in self.lineage(name)]
        layers = [layer for entry in lineage for layer in entry.switches]
        if at_host:
            layers += self.entries[name].at_host  # not inherited: it is about that host
        if model:
            for family in (family for entry in lineage for family in entry.families):
                if (pattern := family.pattern(plain)) is not None:
                    layers.append(Layer(f"{family.layer.where} {pattern}", family.layer.set))
            if (known := self.limits.get(plain)) is not None:
                layers.append(Layer(f"{known.where} {plain}", known.set))
        return layers

    def build(
        self, name: str, extra: Mapping[str, Any] | None = None, *, model: str = "", at_host: bool = False
    ) -> Profile:
        """The profile ``name``, for one model if given, with ``extra`` switches on top.  Raises CatalogError."""
        switches: dict[str, Any] = {}
        for layer in self.layers(name, model=model, at_host=at_host):
            switches |= layer.set
        return self.finished(name, switches | dict(extra or {}))

    def at(self, base_url: str) -> str | None:
        """The name of the profile that claims the URL's host, if one does."""
        host = host_of(base_url)
        for name, entry in self.entries.items():
            if any(host == pattern or (pattern[:2] == "*." and host.endswith(pattern[1:])) for pattern in entry.hosts):
                return name
        return None

    def lineage(self, name: str) -> list[str]:
        """``name`` and what it is based on, the eldest first.  Raises CatalogError."""
        lineage: list[str] = []
        current: str | None = name
        while current is not None:
            if current in lineage:
                raise CatalogError(f"profile {name!r} is based on itself")
            if current not in self.entries:
                raise CatalogError(f"profile {lineage[-1]!r} is based on {current!r}, which does not exist")
            lineage.append(current)
            current = self.entries[current].based_on
        return lineage[::-1]

    def finished(self, name: str, switches: dict[str, Any]) -> Profile:
        """A profile of these switches and the defaults.  Raises CatalogError."""
        dialect = switches.get("effort")
        if isinstance(dialect, str):
            if dialect not in self.dialects:
                raise CatalogError(
                    f"profile {name!r}: effort {dialect!r} is no dialect{_nearest(dialect, self.dialects)}"
                )
            switches["effort"] = self.dialects[dialect]
        unknown = next((key for key in switches if key not in _SWITCHES), None)
        if unknown is not None:
            raise CatalogError(f"profile {name!r}: there is no switch {unknown!r}{_nearest(unknown, _SWITCHES)}")
        try:
            return msgspec.convert({"name": name, **switches}, Profile)
        except msgspec.ValidationError as error:
            raise CatalogError(f"profile {name!r}: {error}") from None


EMPTY: Final = Catalog({}, {}, {})


def plain_model(model: str) -> str:
    """``OpenAI/GPT-5:free`` as ``gpt-5``: how patterns and limits name models."""
    return model.lower().rpartition("/")[2].partition(":")[0]


def host_of(base_url: str) -> str:
    """The host of a URL, whose scheme may be missing, in lower case; "" without one.  Raises ValueError."""
    return (urlsplit(base_url if "//" in base_url else f"//{base_url}").hostname or "").rstrip(".").lower()


def load(text: str, origin: str, base: Catalog = EMPTY) -> Catalog:
    """``base`` with the profiles, dialects and limits of one TOML text added or replaced.

    Every profile is built once here, so that a fault is found at start.  Raises CatalogError, which names ``origin``.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CatalogError(f"{origin}: {error}") from None
    try:
        return _merged(content, origin, base)
    except (CatalogError, msgspec.ValidationError) as error:
        raise CatalogError(f"{origin}: {error}") from None


def _merged(content: dict[str, Any], origin: str, base: Catalog) -> Catalog:
    for section in content:
        if section not in ("profile", "effort", "limits"):
            raise CatalogError(f"there is no section {section!r}{_nearest(section, ('profile', 'effort', 'limits'))}")
    dialects = base.dialects | msgspec.convert(content.get("effort", {}), dict[str, dict[str, Any]])
    limits = dict(base.limits)
    for known in msgspec.convert(content.get("limits", []), list[LimitsTable]):
        layer = Layer(f"{origin} [[limits]]", known.set)
        limits |= dict.fromkeys(map(plain_model, known.models), layer)
    tables = msgspec.convert(content.get("profile", {}), dict[str, dict[str, Any]])
    added = {name: _over(base.entries.get(name), _entry(name, table, origin)) for name, table in tables.items()}
    # the user's profiles come first: the host they claim is theirs
    catalog = Catalog(
        added | {name: entry for name, entry in base.entries.items() if name not in added}, dialects, limits
    )
    for name in catalog.entries:  # a profile may be based on one that has changed, or name a dialect that has
        catalog.build(name)
        for ancestor in catalog.lineage(name):
            for family in catalog.entries[ancestor].families:
                catalog.build(name, family.layer.set)
        catalog.build(name, at_host=True)
    for layer in limits.values():
        catalog.finished(GENERIC, dict(layer.set))
    return catalog


def _entry(name: str, table: dict[str, Any], origin: str) -> Entry:
    where = f"{origin} [profile.{name}]"
    switches = {key: value for key, value in table.items() if key not in _ENTRY_KEYS}
    at_host = msgspec.convert(table.get("at_host", {}), dict[str, Any])
    return Entry(
        switches=(Layer(where, switches),),
        based_on=msgspec.convert(table.get("based_on"), str | None),
        hosts=msgspec.convert(table.get("hosts", []), tuple[str, ...]),
        at_host=(Layer(f"{where} at_host", at_host),),
        families=tuple(
            Family(family.match, Layer(f"{origin} [[profile.{name}.family]]", family.set))
            for family in msgspec.convert(table.get("family", []), tuple[FamilyTable, ...])
        ),
        origins=(origin,),
    )


def _over(old: Entry | None, new: Entry) -> Entry:
    """A profile that exists already is corrected switch by switch, unless the new one says what it is based on."""
    if old is None or new.based_on is not None:
        return new
    return Entry(
        switches=old.switches + new.switches,
        based_on=old.based_on,
        hosts=new.hosts or old.hosts,
        at_host=old.at_host + new.at_host,
        families=old.families + new.families,
        origins=old.origins + new.origins,
    )


def _nearest(word: str, known: Any) -> str:
    found = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""
