"""Environment and ``.env`` become one frozen :class:`Settings`.

Rule: every fault is reported at once, each with the variable's name and a reason, and no reason quotes a secret.
"""

from __future__ import annotations

import difflib
import io
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec
from dotenv.parser import parse_stream

from ccproxy_sanic import settings_guards, settings_workers
from ccproxy_sanic.masking import Secret, mask
from ccproxy_sanic.routing import file
from ccproxy_sanic.settings_model import Settings, base_urls_of
from ccproxy_sanic.settings_network import NETWORK, Network
from ccproxy_sanic.settings_parsers import AuthToken, content
from ccproxy_sanic.settings_table import TABLE
from ccproxy_sanic.settings_upstream import (
    DEFAULT_MODELS,
    EVERYWHERE,
    Faulty,
    Resolve,
    Upstream,
    is_loopback,
    is_own_address,
    resolve,
)

__all__ = ["AuthToken", "Fault", "Report", "Secret", "Settings", "SettingsError", "Upstream", "examine", "load"]

Source = Literal["environment", ".env", "default"]

RATE_PER_MINUTE: Final = 60  # with RATE_LIMIT_ENABLED=1 alone (original.md 1.2)
# ... and with CLIENT_RATE_LIMIT_ENABLED=1 alone
UPSTREAM_RATES: Final = {"CLIENT_RATE_LIMIT_RPM": 120, "CLIENT_RATE_LIMIT_TPM": 6_000_000}
_PREFIX: Final = "CCPROXY_"
_OWN: Final = [name.removeprefix(_PREFIX) for name in TABLE if name.startswith(_PREFIX)]
_CLOSE: Final = 0.85  # similarity from which a foreign name is taken for a misspelt one
_ALIASES: Final = {"OPENAI_API_BASE": "OPENAI_BASE_URL"}  # the old name of OpenAI's own library
_SHORT_TOKEN: Final = 16
_FOREIGN: Final = frozenset({"FTP_PROXY"})  # near ours, and nothing to warn of
_FOREIGN_ENDS: Final = tuple(f"_{name}" for name in TABLE)
ROUTES: Final = "CCPROXY_ROUTES"
_UPSTREAM: Final = ("OPENAI_API_KEY", "OPENROUTER_API_KEY", "OPENAI_BASE_URL")  # with none of them it is the demo


class Fault(NamedTuple):
    """One thing that is wrong with one variable."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class SettingsError(Exception):
    """The settings can't be used; ``faults`` are all of them."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


class Report(NamedTuple):
    """Everything there is to say about a configuration; ``settings`` is None where there are faults."""

    settings: Settings | None
    routes: file.Routes | None  # also where something else is faulty
    values: dict[str, Any]  # by variable name; what is in force, or the default where the given one is faulty
    sources: dict[str, Source]
    faults: tuple[Fault, ...]
    warnings: tuple[str, ...]


def load(environ: Mapping[str, str], env_file: Path | None = None) -> Settings:
    """The settings.  Raises :class:`SettingsError` with every fault at once; knows no environment but ``environ``.

    ``env_file`` is read where it exists; one that CCPROXY_ENV_FILE names is read instead, and must exist.
    """
    report = examine(environ, env_file)
    if report.settings is None:
        raise SettingsError(report.faults)
    return report.settings


def addresses(host: str) -> set[str]:
    """The IP addresses of a name; "" asks for this machine's own.  Empty where it has none."""
    try:
        found = socket.getaddrinfo(host or socket.gethostname(), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return set()
    return {str(entry[4][0]) for entry in found}


class _Reader:
    """Collects values, sources, faults and warnings on the way."""

    def __init__(self, environ: Mapping[str, str], env_file: Path | None) -> None:
        self.faults: list[Fault] = []
        self.warnings: list[str] = []
        self.read_elsewhere: frozenset[str] = frozenset()  # variables that the routes name
        self.environ = environ
        if named := environ.get("CCPROXY_ENV_FILE", "").strip():
            env_file = Path(named).expanduser()
        elif env_file is not None and not env_file.exists():
            env_file = None
        self.file = {} if env_file is None else self._parse(env_file)
        self.values: dict[str, Any] = {}
        self.sources: dict[str, Source] = {}

    def fault(self, name: str, reason: str) -> None:
        self.faults.append(Fault(name, mask(reason)))  # a key may stand in the wrong variable

    def _parse(self, path: Path) -> dict[str, str]:
        try:
            text = content(path)
        except ValueError as error:
            self.fault("CCPROXY_ENV_FILE", f"{path} {error}")
            return {}
        found: dict[str, str] = {}
        for binding in parse_stream(io.StringIO(text)):
            if binding.error:
                self.warnings.append(f"{path.name}, line {binding.original.line}: is not NAME=value and is left out")
            elif binding.key is not None and binding.value is not None:
                found[binding.key] = binding.value
        return found

    def read(self) -> None:
        for name, setting in TABLE.items():
            self.values[name], self.sources[name] = setting.default, "default"
            given: tuple[tuple[Source, Mapping[str, str]], ...] = (("environment", self.environ), (".env", self.file))
            for source, names in given:
                spelling = next((spelling for spelling in setting.spellings if spelling in names), None)
                if spelling is None:
                    continue
                if (text := names[spelling].strip()) or setting.empty:
                    self.sources[name] = source
                    try:
                        self.values[name] = setting.parse(text)
                    except ValueError as error:
                        self.fault(name, str(error))
                break  # an empty value in the environment hides the one in .env

    def unknown_names(self) -> None:
        """A misspelt name of ours is a fault; a foreign one that is nearly ours gets a warning."""
        for name in sorted({*self.environ, *self.file}):
            if name in TABLE or name in _FOREIGN or name in self.read_elsewhere:
                continue
            if name.upper().startswith(_PREFIX):
                near = difflib.get_close_matches(name.upper()[len(_PREFIX) :], _OWN, 1, 0.5)
                self.fault(name, "there is no such setting" + (f"; did you mean {_PREFIX}{near[0]}?" if near else ""))
            elif name.upper().endswith(_FOREIGN_ENDS):  # NIX_SSL_CERT_FILE and the like: somebody else's prefix
                continue
            elif near := difflib.get_close_matches(_ALIASES.get(name, name), TABLE, 1, _CLOSE):
                self.warnings.append(f"{name} is not read; did you mean {near[0]}?")

    def upstream(self) -> Upstream | None:
        values = self.values
        try:
            upstream, warnings = resolve(
                values["OPENAI_API_KEY"], values["OPENROUTER_API_KEY"], values["OPENAI_BASE_URL"]
            )
        except Faulty as error:
            self.fault("OPENAI_BASE_URL", str(error))
            return None
        self.warnings += warnings
        big, small = DEFAULT_MODELS.get(upstream.label, DEFAULT_MODELS["openai"])
        for name, default in (("BIG_MODEL_NAME", big), ("SMALL_MODEL_NAME", small)):
            if values[name] is None:
                values[name] = default
                if upstream.label not in DEFAULT_MODELS:
                    self.warnings.append(f"{name} is not set: {default} is asked for, which the upstream may not have")
        return upstream

    def routes(self, has_default: bool, resolve_name: Resolve) -> file.Routes | None:
        path: Path | None = self.values[ROUTES]
        if path is None:
            return None
        host, port = self.values["HOST"], self.values["PORT"]
        try:
            routes = file.read(
                path,
                {**self.file, **self.environ},
                has_default=has_default,
                is_own=lambda url: is_own_address(url, host, port, resolve_name),
            )
        except file.RoutesError as error:
            for reason in error.faults:
                self.fault(ROUTES, reason)
            self.read_elsewhere = error.variables
            return None
        self.read_elsewhere = routes.variables
        self.warnings += (f"{ROUTES}: {warning}" for warning in routes.warnings)
        return routes

    def together(self, upstream: Upstream | None, resolve_name: Resolve) -> None:
        """What depends on more than one variable."""
        values = self.values
        host, port = values["HOST"], values["PORT"]
        outside = host in EVERYWHERE or not is_loopback(host)
        if outside and not values["CCPROXY_AUTH_TOKENS"] and not values["CCPROXY_OPEN"]:
            self.fault(
                "HOST",
                f"{host} can be reached from outside: set CCPROXY_AUTH_TOKENS, "
                "or CCPROXY_OPEN=1 to let everybody use your key, or listen on 127.0.0.1",
            )
        if any(len(token.token.reveal()) < _SHORT_TOKEN for token in values["CCPROXY_AUTH_TOKENS"]):
            self.warnings.append(f"CCPROXY_AUTH_TOKENS: a token of less than {_SHORT_TOKEN} characters can be guessed")
        if upstream is not None and not upstream.demo and is_own_address(upstream.base_url, host, port, resolve_name):
            self.fault("OPENAI_BASE_URL", "is this proxy's own address: it would call itself without end")
        self._rate_limit()
        self.warnings += settings_workers.warnings(values, sys.platform)
        values["CCPROXY_CA_FILE"] = values["CCPROXY_CA_FILE"] or values["SSL_CERT_FILE"]
        for name, reason, is_fault in settings_guards.log_files(values, lambda name: self.sources[name] == "default"):
            if is_fault:
                self.fault(name, reason)
            else:
                self.warnings.append(f"{name}: {reason}")
        for name, reason in settings_guards.faults(values):
            self.fault(name, reason)
        self.warnings += settings_guards.warnings(values)

    def unreachable(self, network: Network, base_urls: Mapping[str, str]) -> None:
        for name, reason in network.faults(base_urls):
            self.fault(name, reason)

    def _rate_limit(self) -> None:
        values = self.values
        if values["RATE_LIMIT_ENABLED"] is None:
            values["RATE_LIMIT_ENABLED"] = values["RATE_LIMIT_PER_MINUTE"] is not None
            if not values["RATE_LIMIT_ENABLED"] and self.sources["RATE_LIMIT_BURST"] != "default":
                self.warnings.append("RATE_LIMIT_BURST has no effect without RATE_LIMIT_PER_MINUTE")
        if not values["RATE_LIMIT_ENABLED"]:
            values["RATE_LIMIT_PER_MINUTE"] = None
        elif values["RATE_LIMIT_PER_MINUTE"] is None:
            values["RATE_LIMIT_PER_MINUTE"] = RATE_PER_MINUTE
        for name, usual in UPSTREAM_RATES.items():
            if values["CLIENT_RATE_LIMIT_ENABLED"] is False:
                values[name] = None
            elif values["CLIENT_RATE_LIMIT_ENABLED"] and values[name] is None:
                values[name] = usual


def examine(environ: Mapping[str, str], env_file: Path | None = None, *, resolve_name: Resolve = addresses) -> Report:
    """As :func:`load`, but says all instead of raising.  ``resolve_name`` is asked only where the ports are equal."""
    reader = _Reader(environ, env_file)
    reader.read()
    routes = reader.routes(any(reader.values[name] is not None for name in _UPSTREAM), resolve_name)
    reader.unknown_names()
    upstream = reader.upstream()
    reader.together(upstream, resolve_name)
    if upstream is not None:
        reader.unreachable(Network(*(reader.values[name] for name in NETWORK)), base_urls_of(routes, upstream))
    warnings = tuple(map(mask, reader.warnings))
    settings: Settings | None = None
    if upstream is not None and not reader.faults:
        fields = {row.attribute: reader.values[name] for name, row in TABLE.items() if not row.elsewhere}
        settings = Settings(upstream=upstream, warnings=warnings, **(fields | {"routes": routes}))
    return Report(settings, routes, reader.values, reader.sources, tuple(reader.faults), warnings)


def reread(
    running: Settings, environ: Mapping[str, str], env_file: Path | None = None, *, resolve_name: Resolve = addresses
) -> Settings:
    """``running`` with the routes that their file holds now, and their keys as the variables hold them now.

    All else waits for a restart, also the first file of routes.  Raises :class:`SettingsError`; then nothing changes.
    """
    reader = _Reader(environ, env_file)
    reader.read()
    faults = [fault for fault in reader.faults if fault.name in (ROUTES, "CCPROXY_ENV_FILE")]
    if faults:
        raise SettingsError(tuple(faults))
    if (reader.values[ROUTES] is None) is not (running.routes is None):
        raise SettingsError((Fault(ROUTES, "is set or taken away by a restart only"),))
    reader.values |= {"HOST": running.host, "PORT": running.port}
    reader.faults.clear()
    routes = reader.routes(not running.upstream.demo, resolve_name)
    reader.unreachable(running.network, base_urls_of(routes, running.upstream))
    if reader.faults:
        raise SettingsError(tuple(reader.faults))
    return msgspec.structs.replace(running, routes=routes)
