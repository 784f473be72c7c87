"""What is committed speaks only of the project: no path of somebody's machine, no host of a package registry."""

from __future__ import annotations

import re
from typing import Final

import pytest

from .source import ROOT, committed, name_of

# tests/data holds recorded traffic, where a path is part of a prompt.
DATA: Final = ROOT / "tests" / "data"
# `/home/me/` and `/home/user/` stand for anybody's.
MACHINE: Final = re.compile(r"(?<![\w.])/(?:root|work|(?:home|Users)/(?!me/|user/)\w+)/")
REGISTRY: Final = re.compile(
    r"pypi\.(?:org|python)|pythonhosted\.|npmjs\.(?:org|com)|yarnpkg\.|deb\.debian|crates\.io|proxy\.golang",
    re.IGNORECASE,
)
INDEX_OPTION: Final = re.compile(r"--(?:extra-)?index-url|--find-links|--trusted-host")


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    found: list[str] = []
    for path in committed():
        if path.is_relative_to(DATA) or path.stat().st_size > 2 << 20:
            continue
        text = path.read_bytes().decode("utf-8", errors="replace")
        if pattern.search(text):
            found += [f"{name_of(path)}:{n}" for n, line in enumerate(text.splitlines(), 1) if pattern.search(line)]
    return found


@pytest.mark.parametrize(
    ("pattern", "sample"),
    [
        pytest.param(MACHINE, "/ho" + "me/somebody/.cache", id="path of a machine"),
        pytest.param(REGISTRY, "https://py" + "pi.org/simple", id="host of a registry"),
        pytest.param(INDEX_OPTION, "--index" + "-url x", id="index option"),
    ],
)
def test_nothing_committed_names(pattern: re.Pattern[str], sample: str) -> None:
    assert pattern.search(sample)
    here = name_of(ROOT / "tests" / "architecture" / "test_hygiene.py")
    assert [line for line in lines_with(pattern) if not line.startswith(here)] == []


def test_requirements_pin_every_package_with_hashes() -> None:
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        entries = [part for part in re.split(r"^(?=[\w.-]+==)", path.read_text(), flags=re.MULTILINE) if "==" in part]
        assert entries, path.name
        assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_smaller_requirement_files_agree_with_the_largest() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^[\w.-]+==\S+", (ROOT / "requirements" / name).read_text(), re.MULTILINE))

    assert pins("runtime.txt") | pins("build.txt") <= pins("dev.txt")
