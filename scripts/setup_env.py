"""Makes .venv ready: the one thing that `make setup`, `run`, `test` and `check` all call first.

Rule: standard library only, and it must at least start on Python 3.8, so that an old machine gets a sentence and not
a SyntaxError.  Each of the four steps leaves a digest of what it was made from in the stamp; a step whose digest
still holds is skipped, so that the second call needs a tenth of a second and no network.

    python scripts/setup_env.py run     what serving needs
    python scripts/setup_env.py dev     that, and what testing and checking need
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / ".ccproxy-setup.json"
SSE = ROOT / "ccproxy_sanic" / "sse"
PINS = {"run": ("runtime.txt", "build.txt"), "dev": ("dev.txt",)}
OLDEST = (3, 11)
NAMES = ("python3.14", "python3.13", "python3.12", "python3.11", "python3", "python")
# Settings of the caller that would send the packages elsewhere than into .venv, or let another tree be imported.
MISLEADING = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")
# pip trusts the system's certificates by default; uv (by its new and its old name for it) only when asked.
QUIET = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1"}
PROBE = """
import json, sys
def there(name):
    try:
        __import__(name)
    except ImportError:
        return False
    return True
can_venv = there("venv") and there("ensurepip")
print(json.dumps([list(sys.version_info[:3]), sys.executable, sys.prefix, can_venv, there("pip")]))
"""


class Python:
    """One interpreter that starts: its version, its real path, the folder it installs into, what it is able to do."""

    def __init__(self, version: list[int], path: str, prefix: str, can_venv: bool, has_pip: bool) -> None:
        self.version, self.path, self.prefix = tuple(version), path, prefix
        self.can_venv, self.has_pip = can_venv, has_pip
        self.name = ".".join(map(str, version))


def environment(**extra: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in MISLEADING}
    return {**QUIET, **kept, **extra}


def stop(*lines: str) -> NoReturn:
    print("\n".join(lines), file=sys.stderr)
    sys.exit(2)


def probe(command: str) -> Python | None:
    # From "/", because a version manager's shim obeys the .python-version of the folder it is called in.
    try:
        done = subprocess.run(
            [command, "-c", PROBE], cwd="/", env=environment(), capture_output=True, text=True, timeout=60, check=True
        )
        return Python(*json.loads(done.stdout))
    except (OSError, ValueError, TypeError, subprocess.SubprocessError):
        return None


def find_python(need_venv: bool) -> Python:
    """The first Python >= 3.11 on PATH that can do what is needed; without one the program ends with one line."""
    folders = [folder for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if folder]
    found: list[Python] = []
    for command in [os.path.join(folder, name) for name in NAMES for folder in folders]:
        if Path(command).parent == PYTHON.parent or not os.access(command, os.X_OK):
            continue
        python = probe(command)
        if python and python.version >= OLDEST and (python.can_venv or not need_venv):
            return python
        found += [python] if python else []
    newest = max(found, key=lambda python: python.version, default=None)
    if newest and newest.version >= OLDEST:
        package = "python{}.{}-venv".format(*newest.version)
        stop(
            f"Python {newest.name} ({newest.path}) has no venv or ensurepip: install {package} or python3-venv"
            f" (Debian, Ubuntu: apt install {package}), or uv."
        )
    had = f"the newest found is {newest.name} ({newest.path})" if newest else "none was found on PATH"
    stop(f"Python 3.11 or newer is needed; {had}.")


def digest(*parts: object) -> str:
    """One digest of files (their contents) and of values (their text)."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part.read_bytes() if isinstance(part, Path) else str(part).encode())
        total.update(b"\0")
    return total.hexdigest()[:20]


def run(command: list[str], env: dict[str, str] | None = None, expected: int = 0) -> None:
    """Runs a command in the project's folder; on failure shows the end of what it said and ends the program."""
    tail: list[str] = []
    seen = 0
    terminal = sys.stdout.isatty()
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=env or environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as child:
        for line in child.stdout or ():
            tail = [*tail[-30:], line]
            if terminal and expected and line.startswith("Collecting "):
                seen += 1
                print(f"\r\033[K    {seen}/{expected} {line.split()[1][:50]}", end="", flush=True)
    if seen:
        print("\r\033[K", end="", flush=True)
    if child.returncode != 0:
        stop("".join(tail).rstrip(), f"failed: {' '.join(command)}")


@contextmanager
def alone() -> Iterator[None]:
    """Two set-ups at once would tear the same .venv: the second waits for the first."""
    handle = os.open(str(ROOT / "requirements"), os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


class Setup:
    """The four steps; `want` is what the stamp must say for a step to be skipped."""

    def __init__(self, level: str) -> None:
        self.uv = shutil.which("uv")
        self.stamp = self.load()
        self.level = "dev" if self.stamp.get("level") == "dev" else level
        self.pins = [ROOT / "requirements" / name for name in PINS[self.level]]
        self.compiler = os.environ.get("CC") or next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
        sources = [ROOT / "setup.py", *sorted(SSE.glob("*.pyx")), *sorted(SSE.glob("*.pxd"))]
        self.want = {
            "venv": digest(str(VENV)),  # its scripts hold its path: a moved folder needs a new one
            "packages": digest(*self.pins),
            "project": digest(str(VENV), ROOT / "pyproject.toml", ROOT / "setup.py"),
            "extension": digest(self.compiler, os.environ.get("CFLAGS"), *sources),
        }
        if os.environ.get("CCPROXY_PURE") == "1":
            del self.want["extension"]

    @staticmethod
    def load() -> dict[str, str]:
        try:
            stamp = json.loads(STAMP.read_text())
        except (OSError, ValueError):
            return {}
        return stamp if isinstance(stamp, dict) else {}

    def mark(self, **entries: str | None) -> None:
        self.stamp.update({key: value for key, value in entries.items() if value is not None})
        for key in [key for key, value in entries.items() if value is None]:
            self.stamp.pop(key, None)
        if VENV.is_dir():
            STAMP.write_text(json.dumps(self.stamp))

    def is_ready(self) -> bool:
        held = all(self.stamp.get(key) == value for key, value in self.want.items())
        return held and os.access(str(PYTHON), os.X_OK)

    @contextmanager
    def step(self, number: int, key: str, title: str) -> Iterator[None]:
        print(f"{number}/4 {title} ...", flush=True)
        start = time.monotonic()
        self.mark(**{key: None})
        yield
        self.mark(**{key: self.want[key]})
        print(f"{number}/4 done ({time.monotonic() - start:.1f} s)", flush=True)

    def installer(self) -> list[str]:
        if self.uv:
            return [self.uv, "pip", "install", "--python", str(PYTHON)]
        return [str(PYTHON), "-m", "pip", "install"]

    def make_venv(self) -> None:
        """Keeps a .venv that works here and can be installed into; else makes it anew."""
        current = probe(str(PYTHON)) if self.stamp.get("venv") in (None, self.want["venv"]) else None
        # A `python` in .venv that installs elsewhere (a bare link to the system's) must never be installed with.
        ours = current is not None and os.path.realpath(current.prefix) == os.path.realpath(VENV)
        if current and ours and current.version >= OLDEST and (self.uv or current.has_pip):
            self.mark(venv=self.want["venv"])
            return
        python = find_python(need_venv=not self.uv)
        self.stamp = {}
        with self.step(1, "venv", f"creating .venv with Python {python.name} ({python.path})"):
            shutil.rmtree(VENV, ignore_errors=True)
            maker = [self.uv, "venv", "--quiet", "--python", python.path] if self.uv else [python.path, "-m", "venv"]
            run([*maker, str(VENV)])

    def install_packages(self) -> None:
        names = {name for pins in self.pins for name in re.findall(r"^([\w.-]+)==", pins.read_text(), re.MULTILINE)}
        files = [word for pins in self.pins for word in ("-r", str(pins))]
        with self.step(2, "packages", f"installing {len(names)} pinned packages with {'uv' if self.uv else 'pip'}"):
            run([*self.installer(), "--require-hashes", *files], expected=len(names))
            self.mark(level=self.level)

    def install_project(self) -> None:
        with self.step(3, "project", "installing the project (.venv/bin/ccproxy)"):
            # Without the extension here: it is the next step's, and may fail.
            pure = environment(CCPROXY_PURE="1")
            run([*self.installer(), "--no-deps", "--no-build-isolation", "--editable", str(ROOT)], env=pure)

    def build_extension(self) -> None:
        with self.step(4, "extension", "building the C extension of the SSE framing"):
            for stale in (*SSE.glob("_framing*.so"), *SSE.glob("_framing.c")):
                stale.unlink()
            build = ["setup.py", "--quiet", "build_ext", "--inplace", "--build-temp", str(VENV / "build")]
            said = ""
            for arguments in (build, ["-c", "import ccproxy_sanic.sse._framing"]) if self.compiler else ():
                done = subprocess.run(
                    [str(PYTHON), *arguments], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
                )
                said += done.stdout + done.stderr
            (VENV / "build.log").write_text(said)
            if not any(SSE.glob("_framing*.so")):
                why = "see .venv/build.log" if self.compiler else "no C compiler was found"
                print(f"    not built ({why}): its Python twin serves, same behaviour, more CPU", flush=True)

    def prepare(self) -> None:
        start = time.monotonic()
        self.make_venv()
        for key, work in (
            ("packages", self.install_packages),
            ("project", self.install_project),
            ("extension", self.build_extension),
        ):
            if self.stamp.get(key) != self.want.get(key, self.stamp.get(key)):
                work()
        if "extension" not in self.want:
            print("4/4 CCPROXY_PURE=1: nothing is compiled, the Python twin of the SSE framing serves")
        print(f"ready in {time.monotonic() - start:.1f} s", flush=True)


def main(arguments: list[str]) -> None:
    level = arguments[0] if arguments else "dev"
    if level not in PINS:
        stop(f"usage: setup_env.py [{'|'.join(PINS)}]")
    if Setup(level).is_ready():
        print(".venv is ready", flush=True)
        return
    with alone():
        setup = Setup(level)  # read again: another set-up may have done it meanwhile
        if not setup.is_ready():
            setup.prepare()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
