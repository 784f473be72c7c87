"""The benches' pictures: flame graphs and bars are well-formed and say what they show."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from bench import chart, flame
from bench.chart import Bar

STACKS = ["main;serve;translate 30", "main;serve;write 10", "main;idle 60", "not a stack", ""]


def labels(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_equal_stacks_are_one_box_and_lines_that_are_none_are_skipped() -> None:
    root = flame.fold([*STACKS, "main;idle 100"])
    assert root.count == 200
    assert root.children["main"].children["idle"].count == 160


def test_a_share_of_its_own_is_without_what_was_called() -> None:
    found = {name: (own, whole) for name, own, whole in flame.heaviest(flame.fold(STACKS), 10)}
    assert found == {"idle": (0.6, 0.6), "translate": (0.3, 0.3), "write": (0.1, 0.1)}


def test_a_function_that_calls_itself_counts_once() -> None:
    assert flame.heaviest(flame.fold(["walk;walk;walk 10"]), 1) == [("walk", 1.0, 1.0)]


def test_the_projects_parts_are_packages_of_their_own() -> None:
    root = flame.fold(["ccproxy_sanic/sse/a.py:f 3", "ccproxy_sanic/wire/b.py:g 2", "sanic/app.py:h 5"])
    assert flame.packages(root) == [("sanic", 0.5), ("ccproxy_sanic/sse", 0.3), ("ccproxy_sanic/wire", 0.2)]


def test_a_flame_graph_is_well_formed_whatever_the_names_are() -> None:
    svg = flame.svg(flame.fold([*STACKS, "<frozen a&b>;f 40"]), 'a "title" <&>')
    assert 'a "title" <&>' in labels(svg)
    assert "translate" in labels(svg)


def test_without_samples_there_is_no_graph() -> None:
    with pytest.raises(ValueError, match="not one sample"):
        flame.svg(flame.fold([]), "nothing")


def widths(svg: str) -> list[float]:
    bars = list(ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}rect"))[1:]
    return [float(bar.attrib["width"]) for bar in bars]


def test_bars_are_as_long_as_their_values() -> None:
    long, short = widths(chart.svg("t", "n", [Bar("a", 200, "ours"), Bar("b", 50, "peer")]))
    assert long == pytest.approx(4 * short, rel=0.01)


def test_logarithmic_bars_keep_their_order_and_their_room() -> None:
    drawn = widths(
        chart.svg("t", "n", [Bar("a", 1, "ours"), Bar("b", 100, "raw"), Bar("c", 9e4, "peer")], logarithmic=True)
    )
    assert drawn == sorted(drawn)
    assert drawn[-1] <= chart.WIDTH - chart.LABEL - chart.NUMBER
    assert drawn[0] > 10


def test_every_bar_says_its_label_and_number() -> None:
    assert {"nginx <raw>", "1,234"} <= set(labels(chart.svg("t", "n", [Bar("nginx <raw>", 1234.4, "raw")])))


@pytest.mark.parametrize(("value", "text"), [(13_500.0, "13,500"), (45.25, "45.2"), (0.107, "0.11")])
def test_numbers_have_the_digits_that_mean_something(value: float, text: str) -> None:
    assert chart.number(value) == text
