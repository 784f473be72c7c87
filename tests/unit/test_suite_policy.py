"""The suite's own promise: no test sees a key, an address or a setting of the caller's environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import strip

ROOT = Path(__file__).resolve().parents[2]
FOREIGN = {
    "OPENAI_API_KEY": "sk-somebody",
    "OPENROUTER_API_KEY": "sk-or-somebody",
    "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
    "ANTHROPIC_AUTH_TOKEN": "somebody",
    "CCPROXY_AUTH_TOKENS": "somebody",
    "BIG_MODEL_NAME": "big",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "SANIC_RESPONSE_TIMEOUT": "1",
    "PORT": "1",
}


def test_keys_addresses_and_settings_are_stripped() -> None:
    assert strip(FOREIGN) == {}


def test_what_chooses_the_tests_and_the_machine_stays() -> None:
    kept = {"CCPROXY_PURE": "1", "CCPROXY_E2E": "1", "PATH": "/bin", "LANG": "C", "SSL_CERT_FILE": "/certificates"}
    assert strip(kept) == kept


def test_a_test_run_from_a_shell_with_keys_sees_none(tmp_path: Path) -> None:
    """A whole pytest run with this suite's conftest, called from such a shell."""
    probe = tmp_path / "test_probe.py"
    probe.write_text(f"import os\n\ndef test_nothing():\n    assert not set({sorted(FOREIGN)}) & set(os.environ)\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-c", os.devnull, str(probe)]
    environment = {**os.environ, **FOREIGN, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop does not exist there")
async def test_async_tests_run_on_the_loop_that_serves() -> None:
    import asyncio

    assert type(asyncio.get_running_loop()).__module__.startswith("uvloop")
