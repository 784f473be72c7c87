"""The project's own files, as the architecture tests read them.  Rule: nothing here imports what it examines."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("ccproxy_sanic", "actors")
# What `.gitignore` leaves out, for a tree that was unpacked and not cloned.
BUILT_FOLDERS = {".git", ".venv", "build", "dist", "node_modules", ".cache", "__pycache__"}
BUILT_SUFFIXES = {".so", ".c", ".pyc", ".jsonl"}


@cache
def committed() -> tuple[Path, ...]:
    """Every file that is, or would be, committed; in a tree without git every file outside the built folders."""
    command = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0")
        files = [ROOT / name for name in listed if name]
    except (OSError, subprocess.CalledProcessError):
        files = [path for path in ROOT.rglob("*") if path.suffix not in BUILT_SUFFIXES and path.name != ".env"]
        files = [path for path in files if not BUILT_FOLDERS & set(path.relative_to(ROOT).parts[:-1])]
    return tuple(sorted(path for path in files if path.is_file()))


def sources(*folders: str, suffixes: tuple[str, ...] = (".py",)) -> list[Path]:
    """The source files under some folders of the project, or all of them."""
    wanted = [ROOT / folder for folder in folders] or [ROOT]
    return [path for path in committed() if path.suffix in suffixes and any(path.is_relative_to(w) for w in wanted)]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def product_nodes() -> Iterator[tuple[str, ast.AST]]:
    """Every node of the product's Python files, with the file's name relative to the project."""
    for path in sources(*PRODUCT):
        for node in ast.walk(parsed(path)):
            yield name_of(path), node


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def place(name: str, node: ast.AST) -> str:
    return f"{name}:{getattr(node, 'lineno', 0)}"
