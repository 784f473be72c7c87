"""Writes requirements/*.txt: exact versions with the hashes of every platform's files, and no address of anything.

Needs `uv` on PATH (`--universal` covers Python 3.11 to 3.14 on every system with environment markers).  Pins that
still satisfy pyproject.toml stay as they are; `--upgrade` takes the newest that satisfy it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "requirements"
HEADER = "# Written by `make pin`: exact versions, hashes of every platform's files, Python 3.11 to 3.14.\n"
COMMON = ("--universal", "--python-version", "3.11", "--generate-hashes", "--no-annotate", "--no-header", "--quiet")
# A line that names a host would send every user of the file to the mirror of whoever wrote it.
ADDRESS = re.compile(r"://|^\s*-", re.MULTILINE)
HASH_LINE = re.compile(r"^ +--hash=sha256:[0-9a-f]{64}( \\)?$", re.MULTILINE)


def compile_pins(name: str, source: Path, *options: str) -> Path:
    """One requirements file from one source; raises CalledProcessError when no set of versions satisfies it."""
    out = OUT / name
    subprocess.run(["uv", "pip", "compile", *COMMON, *options, str(source), "-o", str(out)], cwd=ROOT, check=True)
    text = out.read_text()
    text = text if text.startswith(HEADER) else HEADER + text
    if found := ADDRESS.search(HASH_LINE.sub("", text)):
        raise SystemExit(f"{out}: names an address or carries an option: {found.group()!r}")
    out.write_text(text)
    count = len(re.findall(r"^\S+==", text, re.MULTILINE))
    print(f"{out.relative_to(ROOT)}: {count} packages")
    return out


def main(options: list[str]) -> None:
    project = ROOT / "pyproject.toml"
    OUT.mkdir(exist_ok=True)
    # dev.txt is the superset and is solved first; the smaller ones take their versions from it.
    dev = compile_pins("dev.txt", project, "--extra", "dev", *options)
    compile_pins("runtime.txt", project, "-c", str(dev))
    with tempfile.TemporaryDirectory() as folder:
        build = Path(folder) / "build.in"
        build.write_text("\n".join(tomllib.loads(project.read_text())["build-system"]["requires"]))
        compile_pins("build.txt", build, "-c", str(dev))


if __name__ == "__main__":
    main(sys.argv[1:])
