"""Two commands on a fresh machine: `scripts/fresh_clone_check.sh` on each kind of machine.  Takes minutes."""

from __future__ import annotations

import subprocess

import pytest

from tests.support.server_process import ROOT

pytestmark = [pytest.mark.opt_in, pytest.mark.timeout(1200)]


@pytest.mark.parametrize("machine", ["plain", "uv", "pure", "nocc"])
def test_make_run_serves_from_a_fresh_copy(machine: str) -> None:
    command = [str(ROOT / "scripts" / "fresh_clone_check.sh"), machine]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    if "left out" in done.stdout:
        pytest.skip(done.stdout.strip())
