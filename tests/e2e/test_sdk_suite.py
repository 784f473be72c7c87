"""The Anthropic SDK's own tests of messages, token counting and models, unchanged, against the proxy
(`make e2e-sdk-suite`).

They send odd things on purpose (a container with skills, malformed schemas, a lone deferred tool, any model name), and
with strict validation of what comes back.  What does not apply is listed here with the reason, and must indeed fail:
an entry that is no longer needed fails the test.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest

from tests.support import sdk_suite
from tests.support.quiet import assert_quiet
from tests.support.server_process import ServerProcess

pytestmark = [pytest.mark.opt_in, pytest.mark.timeout(900)]
FOLDER = "tests/api_resources"
FILES = ("test_messages.py", "test_models.py", "beta/test_messages.py", "beta/test_models.py")

# Pattern of test names -> why it doesn't apply.
REFUSED = "asks for mcp_servers, which only Anthropic's servers can run: a clear 400 is the answer"
NOT_APPLICABLE = {
    "beta.test_messages::*::test_method_create_with_all_params_overload_[12]*": REFUSED,
    "beta.test_messages::*::test_method_count_tokens_with_all_params*": REFUSED,
}


@pytest.fixture(scope="module")
def outcomes(embedded: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Every test of the suite that was run, and what it said; "" is a pass."""
    files = [f"{FOLDER}/{name}" for name in FILES]
    return sdk_suite.suite().run(embedded.url, tmp_path_factory.mktemp("suite"), *files)


def applies(name: str) -> bool:
    return not any(fnmatchcase(name, pattern) for pattern in NOT_APPLICABLE)


async def test_all_that_applies_passes(outcomes: dict[str, str], embedded: ServerProcess) -> None:
    failed = {name: said for name, said in outcomes.items() if said and applies(name)}
    print(f"{len(outcomes)} tests, {sum(not said for said in outcomes.values())} passed, {len(failed)} failed,")
    print(f"{sum(not applies(name) for name in outcomes)} do not apply")
    assert failed == {}
    assert len(outcomes) > 150  # they did run
    await assert_quiet(embedded.url)


@pytest.mark.parametrize("pattern", NOT_APPLICABLE)
def test_what_does_not_apply_fails(outcomes: dict[str, str], pattern: str) -> None:
    found = {name: said for name, said in outcomes.items() if fnmatchcase(name, pattern)}
    assert found
    assert all(found.values()), f"needs no exception any more: {[name for name, said in found.items() if not said]}"
