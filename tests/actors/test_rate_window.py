"""The sliding minute, against a list of everything that began."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.rate_window import GRAIN, MINUTE, Bucket, Window, given_back

PAUSES = st.one_of(st.just(0.0), st.floats(0.001, 5.0), st.floats(0.0, 130.0))


class Model:
    """All that began: [time, requests, tokens]."""

    def __init__(self) -> None:
        self.entries: list[list[float]] = []

    def sums(self, now: float, age: float) -> tuple[float, float]:
        fresh = [entry for entry in self.entries if entry[0] > now - age]
        return sum(entry[1] for entry in fresh), sum(entry[2] for entry in fresh)


@given(st.lists(st.tuples(PAUSES, st.integers(0, 500), st.integers(-300, 300)), max_size=120), st.data())
def test_the_sums_are_those_of_the_last_minute_and_at_most_a_grain_more(
    script: list[tuple[float, int, int]], data: st.DataObject
) -> None:
    window, model, now = Window(), Model(), 0.0
    buckets: list[tuple[Bucket, list[float]]] = []
    for pause, tokens, change in script:
        now += pause
        bucket = window.add(tokens, now)
        entry = [now, 1.0, float(tokens)]
        model.entries.append(entry)
        buckets.append((bucket, entry))
        changed, what = data.draw(st.sampled_from(buckets))
        window.change(changed, 0, change)
        what[2] += change
        window.expire(now)
        least, most = model.sums(now, MINUTE), model.sums(now, MINUTE + GRAIN + 0.001)
        assert least[0] <= window.requests <= most[0]
        if least == most:
            assert window.tokens == least[1]
        assert len(window) <= MINUTE / GRAIN + 1
    window.expire(now + MINUTE + GRAIN)
    assert (window.requests, window.tokens, len(window)) == (0, 0, 0)


@given(
    st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(0, 50)), min_size=1, max_size=60),
    st.integers(0, 60),
    st.integers(0, 1000),
)
def test_a_wait_is_as_long_as_it_must_be_and_no_longer(
    script: list[tuple[float, int]], requests: int, tokens: int
) -> None:
    window, now = Window(), 0.0
    for pause, cost in script:
        now += pause
        window.add(cost, now)
    window.expire(now)
    wait = window.wait(requests, tokens, now)
    if wait:
        window.expire(now + wait - 0.001)
        assert window.requests > requests or window.tokens > tokens
    window.expire(now + wait)
    assert window.requests <= requests
    assert window.tokens <= tokens


def test_what_has_left_the_minute_is_not_changed_any_more() -> None:
    window = Window()
    old = window.add(10, 0.0)
    window.add(5, 61.0)
    window.change(old, -1, -10)
    assert (window.requests, window.tokens) == (1, 5)


def test_a_silent_upstream_keeps_nothing() -> None:
    window = Window()
    for second in range(200):
        window.add(1, float(second))
    assert len(window) <= 62
    window.expire(1e6)
    assert len(window) == 0


def test_of_a_charge_only_what_time_has_not_paid_is_given_back() -> None:
    assert [given_back((10.0, 4.0), now) for now in (0.0, 5.0, 6.0, 7.0, 9.5, 10.0, 20.0)] == [4, 4, 4, 3, 0.5, 0, 0]
