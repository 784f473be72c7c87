"""The catalogue of profiles in force: ours, and what the user's file (CCPROXY_PROFILES) adds or corrects.

Rule: a fault in that file is one line that names it, and so is a profile that settings or routes name and that does not
exist; both are said before anything is served.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ccproxy_sanic import settings
from ccproxy_sanic.masking import mask
from ccproxy_sanic.profiles import BUILTIN, Catalog, CatalogError, load
from ccproxy_sanic.routing.file import Routes
from ccproxy_sanic.settings import ROUTES, Fault, Report, Settings, SettingsError
from ccproxy_sanic.settings_parsers import content


def read(path: Path | None) -> Catalog:
    """The built-in catalogue with the file's profiles over it.  Raises CatalogError."""
    if path is None:
        return BUILTIN
    try:
        text = content(path)
    except ValueError as error:
        raise CatalogError(f"{path.name} {error}") from None
    return load(text, path.name, BUILTIN)


def examined(environ: Mapping[str, str], env_file: Path | None) -> Report:
    """What the settings say, and whether the profiles they name are good: the one thing they can't know themselves."""
    report = settings.examine(environ, env_file)
    faults: list[Fault] = []
    setting = "CCPROXY_PROFILES"
    try:
        known = read(report.values[setting])
        faults = unknown(report.routes, known)
        setting = "CCPROXY_PROFILE"
        if name := report.values[setting]:
            known.build(name)
    except CatalogError as error:
        faults.append(Fault(setting, mask(str(error))))
    return report._replace(settings=None, faults=(*report.faults, *faults)) if faults else report


def required(given: Settings) -> Catalog:
    """The catalogue of these settings.  Raises CatalogError where it is faulty, or lacks a profile that they name."""
    known = read(given.profiles)
    if given.profile is not None:
        known.build(given.profile)
    if faults := unknown(given.routes, known):
        raise CatalogError(str(faults[0]))
    return known


def unknown(routes: Routes | None, known: Catalog) -> list[Fault]:
    """One fault for every upstream of a file whose profile does not exist."""
    faults: list[Fault] = []
    for upstream in routes.upstreams if routes else ():
        if upstream.profile is not None:
            try:
                known.build(upstream.profile)
            except CatalogError as error:
                faults.append(Fault(ROUTES, mask(f"{upstream.profile_place}: profile: {error}")))
    return faults


def reread(running: Settings, environ: Mapping[str, str], env_file: Path | None, known: Catalog) -> Settings:
    """:func:`ccproxy_sanic.settings.reread`, where ``known`` has the profiles.  Raises SettingsError."""
    found = settings.reread(running, environ, env_file)
    if faults := unknown(found.routes, known):
        raise SettingsError(tuple(faults))
    return found
