"""The picture of a lineage: every node once, in its column, safe to show."""

from xml.etree import ElementTree as ET

from morph_assets.registry.lineage import LineageEdge
from morph_assets.usecases.draw_lineage import MAX_NODES, draw_lineage

SVG = "{http://www.w3.org/2000/svg}"
KERNEL = "kernel/" + "a" * 64
UP = [LineageEdge(KERNEL, "compiled_from", "blueprint/" + "b" * 64, 3, None, 1)]
DOWN = [
    LineageEdge("checkpoint/c", "uses", KERNEL, 5, None, 1),
    LineageEdge("run/<script>", "restored_from", "checkpoint/c", 6, None, 2),
]


def boxes(picture):
    return {
        group.find(f"{SVG}title").text: float(group.find(f"{SVG}rect").get("x"))
        for group in ET.fromstring(picture).iter(f"{SVG}g")  # noqa: S314 - drawn a moment ago
    }


def test_what_it_came_from_stands_right_of_it_and_what_came_of_it_left():
    places = boxes(draw_lineage(KERNEL, UP, DOWN))

    assert sorted(places, key=places.get) == ["run/<script>", "checkpoint/c", KERNEL, "blueprint/" + "b" * 64]
    assert draw_lineage(KERNEL, UP, DOWN).count("<path") == 3


def test_names_are_text_and_never_markup():
    assert "<script>" not in draw_lineage(KERNEL, UP, DOWN)


def test_a_hub_is_drawn_in_part_and_says_so():
    many = [LineageEdge(f"checkpoint/{n}", "uses", KERNEL, n, None, 1) for n in range(100)]
    picture = draw_lineage(KERNEL, [], many)

    assert len(boxes(picture)) == MAX_NODES
    assert f"{101 - MAX_NODES} more are not drawn" in picture


def test_a_node_alone_is_a_picture_too():
    assert list(boxes(draw_lineage(KERNEL, [], []))) == [KERNEL]
