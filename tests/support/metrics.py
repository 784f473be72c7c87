"""Reads pages for Prometheus with prometheus_client's own parsers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain

OPEN_METRICS = "application/openmetrics-text"


class Page:
    """The samples of a page."""

    def __init__(self, text: str, *, openly: bool = False) -> None:
        self.families = list((open_metrics if openly else plain)(text))
        self.samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        for family in self.families:
            for sample in family.samples:
                at = sample.name, frozenset(sample.labels.items())
                assert at not in self.samples, at
                self.samples[at] = sample.value

    def __call__(self, sample: str, **labels: str) -> float | None:
        """The value of one sample, None where there is none."""
        return self.samples.get((sample, frozenset(labels.items())))

    def total(self, sample: str, **labels: str) -> float:
        """The sum of all samples of this name that have these labels, whatever others they have."""
        wanted = labels.items()
        return sum(
            value for (name, found), value in self.samples.items() if name == sample and wanted <= dict(found).items()
        )

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.samples}


async def page_of(client: httpx.AsyncClient, **headers: str) -> Page:
    answer = await client.get("/metrics", headers=headers)
    assert answer.status_code == 200
    openly = answer.headers["content-type"].startswith(OPEN_METRICS)
    assert openly or answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Page(answer.text, openly=openly)


async def numbers_of(client: httpx.AsyncClient) -> Mapping[str, Any]:
    answer = await client.get("/v1/metrics")
    assert answer.status_code == 200
    found: Mapping[str, Any] = answer.json()
    return found
