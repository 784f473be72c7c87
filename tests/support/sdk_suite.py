"""The Anthropic SDK's own tests: its source distribution and an environment to run them in, in the project's cache.

Rule: what runs is what the distribution holds, unchanged, in the versions that its own lock file names; a second run
asks no registry.
"""

from __future__ import annotations

import re
import subprocess
import tarfile
import venv
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

from tests.support.server_process import ROOT, clean_environment

HOME = ROOT / ".cache" / "sdk-suite"
NEEDED = (
    *("pytest", "pytest-asyncio", "pytest-xdist", "respx", "inline-snapshot", "http-snapshot[httpx]"),
    *("dirty-equals", "time-machine", "rich", "opentelemetry-sdk"),
)
PINNED = re.compile(r"^[\w.-]+==[^\s;]+", re.MULTILINE)
RUN_WITHIN = 300.0


@dataclass(frozen=True)
class Suite:
    source: Path
    python: Path

    def run(self, base_url: str, home: Path, *files: str) -> dict[str, str]:
        """``file::class::test[id]`` -> "" for a test that passed, else what it said."""
        report = home / "report.xml"
        done = subprocess.run(
            [self.python, "-m", "pytest", "-q", "-n", "2", f"--junitxml={report}", "-o", "cache_dir=.cache", *files],
            cwd=self.source,
            env=clean_environment(home) | {"PYTHONPATH": "", "TEST_API_BASE_URL": base_url},
            capture_output=True,
            text=True,
            timeout=RUN_WITHIN,
        )
        assert done.returncode in (0, 1), f"{done.stdout}\n{done.stderr}"  # 1: some tests failed
        return {_name(case): _said(case) for case in ElementTree.parse(report).iter("testcase")}


def _name(case: ElementTree.Element) -> str:
    module, _, group = case.attrib["classname"].rpartition(".")
    return f"{module.removeprefix('tests.api_resources.')}::{group}::{case.attrib['name']}"


def _said(case: ElementTree.Element) -> str:
    """Skipped is not passed either."""
    found = next((part for part in case if part.tag in ("failure", "error", "skipped")), None)
    return "" if found is None else f"{found.tag}: {found.attrib.get('message', '')[:600]}"


def suite() -> Suite:
    """The suite of the SDK's version that the project's own tests use."""
    wanted = version("anthropic")
    source, environment = HOME / f"anthropic-{wanted}", HOME / f"venv-{wanted}"
    python = environment / "bin" / "python"
    done = environment / ".installed"
    if not done.exists():
        print(f"anthropic {wanted}: its source and what its tests need -> .cache/sdk-suite")
        HOME.mkdir(parents=True, exist_ok=True)
        venv.create(environment, with_pip=True, clear=True)
        _pip(python, "download", "--no-deps", "--no-binary", "anthropic", "-d", str(HOME), f"anthropic=={wanted}")
        with tarfile.open(HOME / f"anthropic-{wanted}.tar.gz") as archive:
            archive.extractall(HOME, filter="data")
        pins = HOME / "pins.txt"
        pins.write_text("\n".join(PINNED.findall((source / "requirements-dev.lock").read_text())))
        _pip(python, "install", "-c", str(pins), f"anthropic[aiohttp]=={wanted}", *NEEDED)
        done.touch()
    return Suite(source, python)


def _pip(python: Path, *arguments: str) -> None:
    subprocess.run([python, "-m", "pip", "--disable-pip-version-check", *arguments, "-q"], check=True)
