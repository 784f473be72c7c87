"""The ``ccproxy`` command: ``serve``, ``check``, ``demo``, ``profiles``.

Rule: whatever is wrong is said in full, with what to do about it, before anything is served; exit code 2 means that.
"""

from __future__ import annotations

import argparse
import errno
import os
import shlex
import shutil
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec

from ccproxy_sanic import __version__, catalog, profiles_command, settings_workers
from ccproxy_sanic.columns import aligned
from ccproxy_sanic.learning import lessons
from ccproxy_sanic.listening import bind
from ccproxy_sanic.masking import Secret, mask
from ccproxy_sanic.ops import neighbour
from ccproxy_sanic.routing import Facts, describe
from ccproxy_sanic.routing.fields import ROLES
from ccproxy_sanic.settings import Report, Settings
from ccproxy_sanic.settings_row import Setting
from ccproxy_sanic.settings_table import SECTIONS

FAULTY: Final = 2  # exit code
ENV_FILE: Final = Path(".env")
_PORTS_TRIED: Final = 100
_OUTSIDE: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 (what a client on this machine says instead)
DEMO: Final = "the embedded demo model"

REAL_PROVIDER: Final = """\
  a real provider:  OPENAI_API_KEY=sk-...        {command}    (OpenAI)
                    OPENROUTER_API_KEY=sk-or-... {command}    (OpenRouter)
                    OPENAI_BASE_URL=http://127.0.0.1:8000/v1 BIG_MODEL_NAME=... {command}    (any other)"""
CLAUDE_CODE: Final = "  Claude Code:      ANTHROPIC_BASE_URL={url} ANTHROPIC_AUTH_TOKEN={token} claude"


def command_line(environ: Mapping[str, str], verb: str) -> str:
    """How this command was called, to be called again: by make, by its name or path, or as a module."""
    if "MAKELEVEL" in environ and verb == "serve":
        return "make run"
    path = Path(sys.argv[0])
    if path.name in ("__main__.py", "-c"):
        return f"python -m ccproxy_sanic {verb}"
    on_path = shutil.which(path.name, path=environ.get("PATH", "")) is not None
    return f"{shlex.quote(path.name if on_path else os.path.relpath(path))} {verb}"


def address(settings: Settings) -> str:
    """The URL that a client on this machine uses."""
    host = _OUTSIDE.get(settings.host, f"[{settings.host}]" if ":" in settings.host else settings.host)
    return f"http://{host}:{settings.port}"


def banner(settings: Settings, command: str) -> str:
    """What a person needs to know when it serves: three to eight lines."""
    upstream, routes = settings.upstream, settings.routes
    workers = f", {settings.web_concurrency} workers" if settings.web_concurrency > 1 else ""
    lines = [f"ccproxy {__version__} on {address(settings)}{workers}"]
    if routes is not None:
        lines.append(f"  routes:           {describe.briefly(routes)}")
    if not upstream.demo:
        models = f"big {settings.big_model_name}, small {settings.small_model_name}"
        lines.append(f"  upstream:         {upstream.label} ({upstream.base_url}), {models}")
    elif routes is None:
        lines += ["  no key is set: the embedded demo model answers, a script", REAL_PROVIDER.format(command=command)]
    token = "<one of CCPROXY_AUTH_TOKENS>" if settings.auth_tokens else "any"
    lines.append(CLAUDE_CODE.format(url=address(settings), token=shlex.quote(token)))
    return "\n".join(lines)


def _say(lines: Sequence[object], kind: str, out: TextIO) -> None:
    for line in lines:
        print(f"{kind}: {line}", file=out)


def _value(setting: Setting, value: Any) -> str:
    """A value as ``check`` shows it.  A secret never gets further than this."""
    if value is None or value in ((), {}):
        return "-"
    if setting.secret or isinstance(value, Secret):
        return f"*** ({', '.join(token.name for token in value)})" if isinstance(value, tuple) else "***"
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, tuple):
        return mask(",".join(map(str, value)))
    if isinstance(value, dict):
        return mask(",".join(f"{client}={upstream}" for client, upstream in value.items()))
    return f"{value:g}" if isinstance(value, float) else mask(str(value))


def table(report: Report) -> str:
    """The effective settings with their source, secrets masked."""
    lines: list[str] = []
    for title, settings in SECTIONS.items():
        rows = [setting for setting in settings if setting.name in report.values and not setting.elsewhere]
        if rows:
            cells = [(f"  {row.name}", _value(row, report.values[row.name]), report.sources[row.name]) for row in rows]
            lines += [title, *aligned(cells), ""]
    if report.settings is not None:
        lines += _ways(report.settings)
    return "\n".join(lines)


def _ways(settings: Settings) -> list[str]:
    """Where requests go."""
    upstream, routes, default = settings.upstream, settings.routes, settings.routing.default
    lines = [] if routes is None else [describe.table(routes, upstream.base_url if default else None), ""]
    if default is not None:
        which = "requests" if routes is None else "requests that no rule takes"
        where = DEMO if upstream.demo else f"{upstream.label} at {upstream.base_url}"
        lines.append(f"{which} go to {where}, {'with' if upstream.api_key else 'without'} a key")
    lines += settings_workers.remarks(settings.web_concurrency, settings.redis_url is not None)
    return lines + settings.network.remarks(settings.base_urls)


def check(environ: Mapping[str, str], out: TextIO) -> int:
    """``ccproxy check``."""
    report = catalog.examined(environ, ENV_FILE)
    print(table(report), file=out)
    _say(report.warnings, "warning", out)
    _say(report.faults, "fault", out)
    return FAULTY if report.faults else 0


def route(environ: Mapping[str, str], given: argparse.Namespace, out: TextIO) -> int:
    """``ccproxy check --route``: what would become of a request."""
    report = catalog.examined(environ, ENV_FILE)
    settings = report.settings
    if settings is None:
        _say(report.faults, "fault", out)
        return FAULTY
    routing = settings.routing
    where = {spec.name: spec.base_url for spec in settings.routes.upstreams} if settings.routes else {}
    if routing.default is not None:
        where[routing.default] = settings.upstream.base_url or DEMO
    facts = Facts(given.route, given.role, given.tokens, given.thinking, given.images)
    print(describe.explanation(routing, facts, given.session, where), file=out)
    return 0


def _add_route_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--route", metavar="MODEL", help="say instead where a request for this model would go")
    parser.add_argument("--role", choices=ROLES, default="", help="the request's role in Claude Code; without: none")
    parser.add_argument("--tokens", type=int, default=0, metavar="N", help="its estimated size")
    parser.add_argument("--thinking", action="store_true", help="it asks for thinking")
    parser.add_argument("--images", action="store_true", help="it holds an image")
    parser.add_argument("--session", default="", metavar="ID", help="its session, which keeps to one target")


def profiles(environ: Mapping[str, str], given: argparse.Namespace, out: TextIO) -> int:
    """``ccproxy profiles``."""
    report = catalog.examined(environ, ENV_FILE)
    faults = [fault for fault in report.faults if fault.name.startswith("CCPROXY_PROFILE")]
    if faults:
        _say(faults, "fault", out)
        return FAULTY
    known = catalog.read(report.values["CCPROXY_PROFILES"])
    folder = report.values["CCPROXY_STATE_DIR"]
    taught = lessons.read(folder, known) if folder is not None else []
    return profiles_command.run(given, known, report.values["CCPROXY_PROFILE"], out, taught, time.time())


def free_port(host: str, after: int) -> int | None:
    """The next port that is free on ``host``; None if none of the next hundred is."""
    for port in range(after + 1, min(after + 1 + _PORTS_TRIED, 65_536)):
        try:
            bind(host, port).close()
        except OSError:
            continue
        return port
    return None


def cannot_listen(settings: Settings, error: OSError, command: str) -> str:
    """Why the address can't be had, by whom it is taken, and what to type instead."""
    where = f"{settings.host}:{settings.port}"
    if error.errno == errno.EACCES:
        return f"{where} may not be used by this user: ports below 1024 are the system's; try PORT=11434 {command}"
    if error.errno != errno.EADDRINUSE:
        return f"HOST: {settings.host} is no address of this machine ({error.strerror})"
    other = neighbour.ask(settings.host, settings.port)
    lines = [f"{where} is taken, {other.by}"]
    if (port := free_port(settings.host, settings.port)) is not None:
        lines.append(f"  on the next free port:  PORT={port} {command}")
        if other.base_url is not None:
            lines.append(f"  in front of it:         PORT={port} OPENAI_BASE_URL={other.base_url} {command}")
    return "\n".join(lines)


def serve(environ: Mapping[str, str], out: TextIO) -> int:
    """``ccproxy serve``: settings, address, banner, server."""
    report = catalog.examined(environ, ENV_FILE)
    settings = report.settings
    _say(report.warnings, "warning", out)
    if settings is None:
        _say(report.faults, "fault", out)
        print(f"{command_line(environ, 'check')} shows all settings", file=out)
        return FAULTY
    command = command_line(environ, "serve")
    try:
        listening = bind(settings.host, settings.port)
    except socket.gaierror as error:
        _say([f"HOST: {settings.host} is no address and no known name ({error.strerror})"], "fault", out)
        return FAULTY
    except OSError as error:
        _say([cannot_listen(settings, error, command)], "fault", out)
        return FAULTY
    settings = msgspec.structs.replace(settings, port=listening.getsockname()[1])
    print(banner(settings, command), file=out, flush=True)
    if settings.web_concurrency > 1:
        from ccproxy_sanic import parent

        return parent.run(settings, listening)
    from ccproxy_sanic import server  # Sanic takes a while to import, and a parent does without

    return server.run(settings, listening)


def main(argv: Sequence[str] | None = None) -> int:
    """The command's entry point; the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="ccproxy",
        description="The Anthropic Messages API in front, OpenAI-compatible models behind.",
        epilog="Settings come from the environment and .env: ccproxy check shows them, docs/settings.md explains them.",
    )
    parser.add_argument("--version", action="version", version=f"ccproxy {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    verbs.add_parser("serve", help="serve on HOST:PORT until SIGTERM")
    checking = verbs.add_parser("check", help="show the effective settings and everything that is wrong with them")
    _add_route_arguments(checking)
    verbs.add_parser("demo", help="serve the demo model alone", add_help=False)
    profiles_command.add_arguments(verbs.add_parser("profiles", help="list the profiles, or explain one's choice"))
    given, rest = parser.parse_known_args(arguments)
    if given.verb == "demo":
        from ccproxy_sanic.demo.__main__ import main as demo

        sys.argv = ["ccproxy demo", *rest]
        demo()
        return 0
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if given.verb == "check":
        if given.route is not None:
            return route(os.environ, given, sys.stdout)
        if any((given.role, given.tokens, given.thinking, given.images, given.session)):
            parser.error("what a request is like is asked together with --route MODEL")
        return check(os.environ, sys.stdout)
    if given.verb == "profiles":
        return profiles(os.environ, given, sys.stdout)
    return serve(os.environ, sys.stderr)
