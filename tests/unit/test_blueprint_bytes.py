"""The stored form of a blueprint: checked like any attack input, and what its digest covers."""

import json

import pytest

from morph_kernels.blueprint import (
    Blueprint,
    BlueprintError,
    library,
)
from morph_kernels.blueprint.limits import MAX_SOURCE_BYTES
from tests.support.blueprint_text import TEXT

GOOD = Blueprint.from_yaml(TEXT).to_bytes()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "nested deeper"),
        (b"[[[[[[[[[[[[]]]]]]]]]]]]", "nested deeper"),
        (b"[]", "must be a mapping"),
        (b" " * (MAX_SOURCE_BYTES + 1), "bytes allowed"),
        (GOOD.replace(b'"format":1', b'"format":1,"format":1'), "duplicate key"),
        (GOOD.replace(b'"format":1', b'"format":1,"name":"x"'), "unknown key 'name'"),
        (GOOD.replace(b'"format":1', b'"format":NaN'), "NaN is not a number"),
        (GOOD.replace(b'"format":1', b'"format":1.0'), "must be an integer"),
        (GOOD.replace(b'"format":1', b'"format":' + b"9" * 5000), "not JSON"),
        (GOOD.replace(b'"format":1', b'"format": 1'), "not in canonical form"),
        (GOOD.replace(b'"in_features":8', b'"bias":true,"in_features":8'), "not in canonical form"),
        (GOOD.replace(b'"gelu"', b'"gleu"'), "node 'act'"),
        (GOOD + b"\n", "not in canonical form"),
    ],
)
def test_bytes_are_checked_like_any_attack_input(data, expected):
    assert data != GOOD
    with pytest.raises(BlueprintError) as caught:
        Blueprint.from_bytes(data, name="x")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_digest_covers_the_design_and_not_its_name_or_spelling():
    blueprint = Blueprint.from_yaml(TEXT)
    same = [
        TEXT.replace("name: block", "name: other").replace("[mlp]", "[]"),
        TEXT.replace("op: gelu, inputs: [up]", "inputs: [up], op:   gelu"),
        TEXT.replace("[up]}", "[up], attributes: {approximate: none}}"),
        TEXT.replace("[up]}", "[up], module: act}"),
        TEXT.replace("out_features: 16}", "out_features: 16, bias: true}"),
        TEXT.replace("shape: [batch, 8], value", "shape: [' batch ', '2 * 4'], value"),
        "# a comment\n" + TEXT,
    ]
    assert {Blueprint.from_yaml(text).digest for text in same} == {blueprint.digest}
    other = [
        TEXT.replace("[1, 16]", "[1, 17]"),
        TEXT.replace("id: act", "id: act2").replace("[act]", "[act2]"),
        TEXT.replace("out_features: 16}", "out_features: 16, bias: false}"),
        TEXT.replace("16}}", "16}, initialisation: {bias: {kind: zeros}}}"),
        TEXT.replace("name: y", "name: z"),
    ]
    assert blueprint.digest not in {Blueprint.from_yaml(text).digest for text in other}


def test_a_blueprint_cannot_be_changed():
    blueprint = library()[0]
    with pytest.raises(AttributeError, match="immutable"):
        blueprint.name = "other"
    with pytest.raises(AttributeError, match="immutable"):
        del blueprint.digest
    with pytest.raises(TypeError):
        blueprint.interface.symbols["batch"] = None
    blueprint.document["nodes"].clear()
    assert json.loads(blueprint.to_bytes()) == blueprint.document
