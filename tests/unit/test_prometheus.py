"""The page for Prometheus can be read back by prometheus_client, in both formats."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import About, Exchange, Family, MetricsRegistry, Series
from actors.series import BUCKETS
from ccproxy_sanic.ops.prometheus import page, process_families
from tests.support.metrics import OPEN_METRICS, Page

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


def registry() -> MetricsRegistry:
    found = MetricsRegistry()
    found.record(
        Exchange(
            *("r", "/v1/messages", "ann", 200, "ok"),
            client_model="m",
            endpoint="e",
            stream=True,
            output_tokens=3,
            duration_s=0.3,
            cost_usd=0.125,
        )
    )
    return found


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", PLAIN),
        ("*/*", PLAIN),
        ("text/html,application/xhtml+xml", PLAIN),
        ("text/plain;version=0.0.4", PLAIN),
        (OPEN_METRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (PROMETHEUS, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    ],
)
def test_who_accepts_open_metrics_gets_it(accept: str, content_type: str) -> None:
    text, given_type = page(registry().families(), accept)
    assert given_type.startswith(content_type)
    shown = Page(text.decode(), openly=OPEN_METRICS in given_type)
    assert shown("ccproxy_requests_total", path="/v1/messages", stream="true", status="200", outcome="ok") == 1
    assert shown("ccproxy_tokens_total", model="m", kind="output") == 3
    assert shown("ccproxy_cost_usd_total", upstream="e", model="") == 0.125


def test_a_histogram_has_all_its_buckets() -> None:
    shown = Page(page(registry().families())[0].decode())
    name = "ccproxy_request_duration_seconds"
    assert shown(f"{name}_count", stream="true") == 1
    assert shown(f"{name}_sum", stream="true") == 0.3
    assert shown(f"{name}_bucket", stream="true", le="0.25") == 0
    assert shown(f"{name}_bucket", stream="true", le="0.5") == 1
    assert shown(f"{name}_bucket", stream="true", le="+Inf") == 1
    assert sum(name == f"{name}_bucket" for name in shown.names) == 0
    assert sum(at[0] == f"{name}_bucket" for at in shown.samples) == len(BUCKETS) + 1


@pytest.mark.parametrize("accept", ["", OPEN_METRICS])
@given(value=st.text(), help_text=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"])))
def test_any_label_value_can_be_read_back(accept: str, value: str, help_text: str) -> None:
    family = Family(About("m_total", "counter", help_text, ("l",)), (Series((value,), 1.5), Series((value + "!",), 2)))
    shown = Page(page([family], accept)[0].decode(), openly=bool(accept))
    written = value.encode("utf-8", "replace").decode()
    assert shown("m_total", l=written) == 1.5
    assert shown("m_total", l=written + "!") == 2


def test_half_a_character_costs_no_page() -> None:
    family = Family(About("g", "gauge", "text", ("l",)), (Series(("\ud800x",), 1),))
    assert Page(page([family])[0].decode())("g", l="?x") == 1


def test_a_family_without_series_is_not_shown() -> None:
    assert page([Family(About("g", "gauge", "text"), ())])[0] == b""


def test_the_process_knows_itself() -> None:
    shown = Page(page(process_families())[0].decode())
    assert (shown("process_resident_memory_bytes") or 0) > 1_000_000
    assert shown("process_cpu_seconds_total") is not None
    merge = {family.about.name: family.about.merge for family in process_families()}
    assert (merge["process_start_time_seconds"], merge["process_max_fds"]) == ("min", "max")
    assert merge["process_resident_memory_bytes"] == merge["process_cpu_seconds_total"] == "sum"
