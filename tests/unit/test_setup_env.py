"""scripts/setup_env.py: what it says on machines that lack something, and what it leaves alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("scripts/setup_env.py", "pyproject.toml", "setup.py", "Makefile")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the set-up is for make and a POSIX shell")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what the set-up reads, in a folder with a space in its name."""
    folder = tmp_path / "a copy"
    for part in PARTS:
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / part, folder / part)
    shutil.copytree(ROOT / "requirements", folder / "requirements")
    return folder


def interpreter(folder: Path, name: str, version: str, can_venv: bool = True) -> None:
    """A program that answers the set-up's question as a Python of that version would."""
    answer = json.dumps([[int(part) for part in version.split(".")], str(folder / name), str(folder), can_venv, True])
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\necho '{answer}'\n")
    (folder / name).chmod(0o755)


def set_up(project: Path, path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(project / "scripts" / "setup_env.py"), "run"]
    return subprocess.run(
        command, env={"PATH": str(path), **environment}, capture_output=True, text=True, check=False, timeout=60
    )


def test_without_a_python_one_line_says_what_is_needed(project: Path, tmp_path: Path) -> None:
    done = set_up(project, tmp_path / "empty")
    assert done.returncode == 2
    assert done.stderr == "Python 3.11 or newer is needed; none was found on PATH.\n"


def test_with_an_old_python_only_the_line_names_it(project: Path, tmp_path: Path) -> None:
    interpreter(tmp_path / "bin", "python3", "3.8.18")
    done = set_up(project, tmp_path / "bin")
    assert done.returncode == 2
    assert "the newest found is 3.8.18" in done.stderr


def test_where_venv_is_missing_one_line_says_which_package_brings_it(project: Path, tmp_path: Path) -> None:
    interpreter(tmp_path / "bin", "python3", "3.12.4", can_venv=False)
    done = set_up(project, tmp_path / "bin")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "python3.12-venv or python3-venv" in done.stderr


def test_a_broken_shim_is_passed_over(project: Path, tmp_path: Path) -> None:
    shim = tmp_path / "bin" / "python3.13"
    shim.parent.mkdir()
    shim.write_text("#!/bin/sh\necho 'command not found' >&2; exit 127\n")
    shim.chmod(0o755)
    interpreter(tmp_path / "bin", "python3", "3.10.1")
    done = set_up(project, tmp_path / "bin")
    assert "the newest found is 3.10.1" in done.stderr


def test_a_failing_step_shows_what_the_tool_said_and_leaves_no_stamp(project: Path, tmp_path: Path) -> None:
    interpreter(tmp_path / "bin", "python3", "3.12.4")
    uv = tmp_path / "bin" / "uv"
    uv.write_text('#!/bin/sh\n[ "$1" = venv ] && exec /bin/mkdir .venv\necho "no route to the packages"; exit 1\n')
    uv.chmod(0o755)
    done = set_up(project, tmp_path / "bin")
    assert done.returncode == 2
    assert "1/4 creating .venv with Python 3.12.4" in done.stdout
    assert "with uv" in done.stdout
    assert "no route to the packages" in done.stderr
    assert set(json.loads((project / ".venv" / ".ccproxy-setup.json").read_text())) == {"venv"}


def test_when_nothing_changed_nothing_is_called(project: Path, tmp_path: Path) -> None:
    """The stamp alone decides: no interpreter, no uv, no network."""
    sys.path.insert(0, str(project / "scripts"))
    try:
        import setup_env
    finally:
        sys.path.remove(str(project / "scripts"))
        sys.modules.pop("setup_env", None)
    (project / ".venv").mkdir()
    interpreter(project / ".venv" / "bin", "python", "3.12.4")
    stamp = {**setup_env.Setup("run").want, "level": "run"}
    (project / ".venv" / ".ccproxy-setup.json").write_text(json.dumps(stamp))
    done = set_up(project, tmp_path / "empty", CCPROXY_PURE="1")
    assert (done.returncode, done.stdout) == (0, ".venv is ready\n")
    with (project / "requirements" / "runtime.txt").open("a") as pins:
        pins.write("\n")
    # Now it must install, and this .venv's Python installs elsewhere: it looks for one to make a new .venv with.
    changed = set_up(project, tmp_path / "empty", CCPROXY_PURE="1")
    assert changed.returncode == 2
    assert "none was found on PATH" in changed.stderr
