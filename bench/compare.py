"""Floor, proxy and peers side by side: CPU per request and per chunk, one core each, in one run.

    python -m bench.compare --list
    python -m bench.compare --install nginx,litellm     into .cache/peers, by the clients of package registries
    python -m bench.compare [--only nginx,litellm] [--json FILE] [--svg docs/img]

Rule: a peer is measured only with its books balanced, as the proxy is; what fails is shown as failed, never left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from bench import chart
from bench.macro import processes, ratios
from bench.macro.bodies import MODEL
from bench.macro.floor_wire import decode_request, to_chat
from bench.macro.processes import PYTHON, Process, free_port, wait_until
from bench.macro.report import MIB, aligned
from bench.macro.rounds import Bench, Round
from bench.macro.run import raise_files, say, versions
from bench.macro.scenarios import SCENARIOS, Body, Scenario
from bench.macro.subjects import Subject
from bench.macro.tools import ROOT, CannotBench

PEERS: Final = Path(__file__).resolve().parent / "peers"
INSTALLED: Final = ROOT / ".cache" / "peers"
OURS: Final = {"floor": "floor", "proxy": "ours"}  # and how their bars are coloured
CHAT_MARKS: Final = {"end-mark": "data: [DONE]", "chunk-mark": '"delta":{"content":', "error-mark": 'data: {"error"'}
PATHS: Final = {"messages": "/v1/messages", "chat": "/v1/chat/completions"}
ASKED: Final = ("small", "agent", "stream-burst", "streams-1000")
PICTURES: Final = {
    "small": ("CPU time per small request, in us", "less is better; logarithmic; 64 connections, one core each"),
    "agent": (
        "CPU time per agent request of 105 kB, in us",
        "less is better; logarithmic; 20 tools, 40 messages, the last one new",
    ),
    "stream-burst": ("CPU time per streamed chunk, in us", "less is better; logarithmic; 200 chunks, one by one"),
}


class Peer(msgspec.Struct, forbid_unknown_fields=True):
    """bench/peers/README.md says what the fields mean."""

    title: str
    speaks: str
    does: str
    install: list[list[str]]
    needs: str
    command: list[str]
    ready: str
    headers: list[str] = []
    model: str = MODEL
    env: dict[str, str] = {}
    files: dict[str, str] = {}


class Outcome(msgspec.Struct):
    """One subject's rounds of one scenario; ``failed`` in words."""

    rounds: list[Round] = []
    failed: str = ""


Outcomes = dict[str, dict[str, Outcome]]
"""By subject, then scenario."""


def known() -> dict[str, Peer]:
    return {path.stem: msgspec.convert(tomllib.loads(path.read_text()), Peer) for path in sorted(PEERS.glob("*.toml"))}


def is_installed(name: str, peer: Peer) -> bool:
    return (INSTALLED / name / peer.needs).exists() or shutil.which(peer.needs) is not None


def filled(text: str, values: Mapping[str, str]) -> str:
    for key, value in values.items():
        text = text.replace("{" + key + "}", value)
    return text


def install(name: str, peer: Peer) -> None:
    """Raises CannotBench with what the installer said."""
    folder = INSTALLED / name
    folder.mkdir(parents=True, exist_ok=True)
    for command in peer.install:
        parts = [filled(part, {"python": PYTHON, "peer": str(folder)}) for part in command]
        say(f"{name}: {' '.join(parts)}")
        try:
            done = subprocess.run(parts, cwd=folder, capture_output=True, text=True)
        except OSError as reason:
            raise CannotBench(f"{name} can't be installed: {reason}") from None
        if done.returncode:
            raise CannotBench(f"{name} can't be installed:\n{done.stderr[-1500:]}")


def start(bench: Bench, name: str, peer: Peer) -> Subject:
    """Raises CannotBench."""
    port = free_port()
    home = bench.folder / name
    home.mkdir()
    values = {"port": str(port), "upstream": str(bench.port), "peer": str(INSTALLED / name), "home": str(home)}
    for file, text in peer.files.items():
        path = home / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(filled(text, values))
    env = {"HOME": str(home)} | {key: filled(value, values) for key, value in peer.env.items()}
    command = [filled(part, values) for part in peer.command]
    process = Process(name, command, home, core=bench.cores.subject, env=env)
    try:
        wait_until(process, f"http://127.0.0.1:{port}{peer.ready}", pause=0.2)
    except BaseException:
        process.stop()
        raise
    return Subject(name, port, process)


def asked(scenario: Scenario, peer: Peer | None) -> Scenario:
    """The scenario in the API and with the model name that a peer wants."""
    if peer is None:
        return scenario
    options: dict[str, Any] = {**scenario.options, "header": peer.headers}
    if peer.speaks == "chat":
        options |= CHAT_MARKS
    return scenario._replace(options=options, bodies=tuple([_for(peer, make) for make in scenario.bodies]))


def _for(peer: Peer, make: Body) -> Body:
    def body() -> bytes:
        made = as_chat(make()) if peer.speaks == "chat" else make()
        return made.replace(MODEL.encode(), peer.model.encode())

    return body


def as_chat(body: bytes) -> bytes:
    """A bench request in Chat Completions' words, by the floor's own translation."""
    return to_chat(decode_request(body), MODEL)


def rounds_of(bench: Bench, subject: Subject, scenario: Scenario, path: str, count: int) -> Outcome:
    outcome = Outcome()
    try:
        if not scenario.requests:
            bench.round(scenario, subject, 1.0, path)
        for _ in range(min(count, scenario.rounds)):
            one = bench.round(scenario, subject, scenario.seconds[0], path)
            outcome.rounds.append(one)
            if one.faults:
                outcome.failed = "; ".join(one.faults)
                break
    except (CannotBench, subprocess.TimeoutExpired) as reason:
        outcome.failed = str(reason)
    return outcome


def measure(bench: Bench, peers: Mapping[str, Peer], count: int) -> tuple[Outcomes, dict[str, float]]:
    """All subjects one after the other, the floor and the proxy first; idle memory in MB beside."""
    outcomes: Outcomes = {}
    idle: dict[str, float] = {}
    for name in [*OURS, *peers]:
        peer = peers.get(name)
        say(f"{name}: starting")
        try:
            subject = bench.subject(name) if peer is None else start(bench, name, peer)
        except CannotBench as reason:
            outcomes[name] = {scenario: Outcome(failed=str(reason)) for scenario in ASKED}
            say(f"{name}: {reason}")
            continue
        with processes.ended(subject.process):
            idle[name] = processes.rss(subject.process.pid) / MIB
            outcomes[name] = {}
            for scenario in ASKED:
                path = PATHS[peer.speaks if peer else "messages"]
                outcome = rounds_of(bench, subject, asked(SCENARIOS[scenario], peer), path, count)
                outcomes[name][scenario] = outcome
                said = f"{ratios.middle(outcome.rounds, ratios.cpu):.1f} us" if outcome.rounds else "-"
                say(f"{name}: {scenario}: {said} {outcome.failed}")
    return outcomes, idle


def titles(peers: Mapping[str, Peer]) -> dict[str, str]:
    ours = {"floor": "floor (Sanic, minimal)", "proxy": "ccproxy"}
    return ours | {name: peer.title for name, peer in peers.items()}


def table(outcomes: Outcomes, idle: Mapping[str, float], named: Mapping[str, str]) -> str:
    def cell(outcome: Outcome) -> str:
        if not outcome.rounds:
            return "failed"
        value = chart.number(ratios.middle(outcome.rounds, ratios.cpu))
        return f"{value} (faults)" if outcome.failed else value

    head = ("CPU us per request or chunk", *ASKED, "idle MB")
    lines = [
        (named[name], *(cell(found[scenario]) for scenario in ASKED), f"{idle.get(name, 0):.0f}")
        for name, found in outcomes.items()
    ]
    return aligned([head, *lines])


def bars(outcomes: Outcomes, scenario: str, peers: Mapping[str, Peer], named: Mapping[str, str]) -> list[chart.Bar]:
    """The cheapest first; peers without a clean round have no bar."""
    found: list[chart.Bar] = []
    for name, by_scenario in outcomes.items():
        outcome = by_scenario[scenario]
        if outcome.rounds and not outcome.failed:
            speaks = peers[name].speaks if name in peers else ""
            group = OURS.get(name) or ("raw" if speaks == "chat" else "peer")
            label = named[name] + (", no translation" if group == "raw" else "")
            found.append(chart.Bar(label, ratios.middle(outcome.rounds, ratios.cpu), group))
    return sorted(found, key=lambda bar: bar.value)


def chosen(given: argparse.Namespace, peers: Mapping[str, Peer]) -> dict[str, Peer]:
    """Those that are installed, or those that were named.  Raises CannotBench for a name that is none."""
    wanted: Sequence[str] = given.only.split(",") if given.only else list(peers)
    if unknown := set(wanted) - set(peers):
        raise CannotBench(f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(peers)}")
    found = {name: peers[name] for name in wanted if is_installed(name, peers[name])}
    for name in wanted:
        if name not in found:
            say(f"{name} is not installed: python -m bench.compare --install {name}")
    return found


def compared(given: argparse.Namespace, peers: Mapping[str, Peer]) -> None:
    raise_files()
    named = titles(peers)
    with tempfile.TemporaryDirectory(prefix="ccproxy-compare-") as folder:
        bench = Bench(Path(folder))
        try:
            if bench.cores.load is not None:
                os.sched_setaffinity(0, {bench.cores.load})
            outcomes, idle = measure(bench, peers, given.rounds)
        finally:
            bench.stop()
    print(table(outcomes, idle, named))
    if given.json:
        found = {"versions": versions(), "measured": outcomes, "idle_mb": idle}
        given.json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    if given.svg:
        given.svg.mkdir(parents=True, exist_ok=True)
        for scenario, (title, note) in PICTURES.items():
            picture = given.svg / f"cpu-{scenario}.svg"
            picture.write_text(chart.svg(title, note, bars(outcomes, scenario, peers, named), logarithmic=True))
            say(f"{picture}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Floor, proxy and peers side by side.")
    parser.add_argument("--list", action="store_true", help="the peers, and which are installed")
    parser.add_argument("--install", metavar="NAMES", help="install these (with commas) into .cache/peers")
    parser.add_argument("--only", metavar="NAMES", help="measure these and no other peers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--svg", type=Path, help="folder for the pictures")
    given = parser.parse_args()
    peers = known()
    try:
        if given.list:
            for name, peer in peers.items():
                state = "installed" if is_installed(name, peer) else "not installed"
                print(f"{name:20} {state:14} {peer.does}")
        elif given.install:
            for name in given.install.split(","):
                if name not in peers:
                    raise CannotBench(f"no such peer: {name}; there are {', '.join(peers)}")
                install(name, peers[name])
        else:
            compared(given, chosen(given, peers))
    except CannotBench as reason:
        say(str(reason))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
