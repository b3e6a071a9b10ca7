"""Every rule refuses with one line that names the place and what is allowed there."""

from pathlib import Path

import pytest

from morph_kernels.blueprint import (
    Blueprint,
    BlueprintMalformedError,
    BlueprintRuleError,
    BlueprintShapeError,
    BlueprintTooLargeError,
)
from morph_kernels.blueprint.limits import MAX_NODES, MAX_SOURCE_BYTES
from tests.support.blueprint_text import TEXT

UP = "  - {id: up, op: linear, inputs: [x], attributes: {in_features: 8, out_features: 16}}"
ACT = "  - {id: act, op: gelu, inputs: [up]}"

# what to replace, by what, the error, and what its line must say
REFUSED = {
    "an anchor": ("tags: [mlp]", "tags: &a [mlp]", BlueprintMalformedError, "line 2: anchors and aliases"),
    "an alias": ("tags: [mlp]", "tags: *a", BlueprintMalformedError, "line 2: anchors and aliases"),
    "a custom tag": ("[mlp]", "!!python/object/apply:os.system [ls]", BlueprintMalformedError, "line 2: tags"),
    "a standard tag": ("8, out_features: 16", "!!int 8, out_features: 16", BlueprintMalformedError, "line 10: tags"),
    "a duplicate key": (
        "name: block",
        "name: block\nname: other",
        BlueprintMalformedError,
        "line 2: duplicate key 'name'",
    ),
    "a key that is no text": ("tags: [mlp]", "? [a]\n: b", BlueprintMalformedError, "line 2: a key must"),
    "a second document": ("tags: [mlp]", "tags: [mlp]\n---\nname: other", BlueprintMalformedError, "one document"),
    "a directive": ("name: block", "%TAG ! tag:x,2000:\n---\nname: block", BlueprintMalformedError, "%TAG"),
    "no yaml": ("tags: [mlp]", "tags: [mlp", BlueprintMalformedError, "line 3: not yaml"),
    "a control character": ("[mlp]", "[m\x01lp]", BlueprintMalformedError, "not yaml"),
    "deep nesting": ("[mlp]", "[" * 20 + "]" * 20, BlueprintTooLargeError, "line 2: nested deeper"),
    "many bytes": ("[mlp]", "[" + "a," * MAX_SOURCE_BYTES + "]", BlueprintTooLargeError, "bytes allowed"),
    "many elements": ("[mlp]", "[" + "1," * 30_000 + "]", BlueprintTooLargeError, "elements allowed"),
    "many nodes": (
        ACT,
        "\n".join(["  - {id: n, op: relu, inputs: [x]}"] * (MAX_NODES + 1)),
        BlueprintTooLargeError,
        "nodes",
    ),
    "many tags": ("[mlp]", str(list(range(17))), BlueprintTooLargeError, "line 2, tags"),
    "an unknown key": ("tags: [mlp]", "tag: [mlp]", BlueprintRuleError, "line 2, tag: unknown key 'tag'; allowed here"),
    "a missing key": ("op: gelu, ", "", BlueprintRuleError, "line 11, nodes[1]: missing key 'op'"),
    "no name": ("name: block\n", "", BlueprintRuleError, "missing key 'name'"),
    "a name with a bar": ("name: block", 'name: "a|b"', BlueprintRuleError, "line 1, name: must be 1 to 63 of a-z"),
    "a name in capitals": ("name: block", "name: Block", BlueprintRuleError, "line 1, name"),
    "a tag with a bar": ("[mlp]", "['a|b']", BlueprintRuleError, "line 2, tags[0]"),
    "another format": ("name: block", "name: block\nformat: 2", BlueprintRuleError, "line 2, format"),
    "an unknown op": (
        "op: gelu",
        "op: gleu",
        BlueprintRuleError,
        "line 11, node 'act', nodes[1].op: unknown op 'gleu'; allowed:",
    ),
    "an op that is no text": ("op: gelu", "op: [gelu]", BlueprintRuleError, "unknown op a list"),
    "an unknown attribute": (
        "[up]}",
        "[up], attributes: {approx: tanh}}",
        BlueprintRuleError,
        "unknown key 'approx'; allowed here: approximate",
    ),
    "a missing attribute": (", out_features: 16", "", BlueprintRuleError, "missing key 'out_features'"),
    "no attributes": (
        ", attributes: {in_features: 8, out_features: 16}",
        "",
        BlueprintRuleError,
        "node 'up', nodes[0]: op linear needs attribute",
    ),
    "a wrong choice": (
        "[up]}",
        "[up], attributes: {approximate: sin}}",
        BlueprintRuleError,
        "must be one of none, tanh",
    ),
    "a float for an integer": (
        "in_features: 8",
        "in_features: 8.0",
        BlueprintRuleError,
        "line 10, node 'up', nodes[0].attributes.in_features: must be an integer",
    ),
    "a boolean for an integer": ("in_features: 8", "in_features: true", BlueprintRuleError, "must be an integer"),
    "a text for an integer": ("in_features: 8", "in_features: '8'", BlueprintRuleError, "must be an integer"),
    "zero": ("in_features: 8", "in_features: 0", BlueprintRuleError, "from 1 to"),
    "a huge integer": ("in_features: 8", "in_features: 99999999999999999999", BlueprintRuleError, "must be an integer"),
    "a very long integer": (
        "in_features: 8",
        "in_features: " + "9" * 5000,
        BlueprintMalformedError,
        "line 10: a number",
    ),
    "hexadecimal": ("in_features: 8", "in_features: 0x8", BlueprintRuleError, "must be an integer"),
    "nothing": ("in_features: 8", "in_features: ", BlueprintRuleError, "not nothing"),
    "a duplicate id": (
        "id: act",
        "id: up",
        BlueprintRuleError,
        "line 11, node 'up', nodes[1].id: the id is already taken",
    ),
    "an id of an input": ("id: act", "id: x", BlueprintRuleError, "already taken"),
    "a bad id": ("id: act", "id: 'a b'", BlueprintRuleError, "nodes[1].id: must be"),
    "an undeclared input": (
        "inputs: [up]",
        "inputs: [z]",
        BlueprintRuleError,
        "value 'z' is neither an input nor an earlier node",
    ),
    "a forward reference": (
        "inputs: [up]",
        "inputs: [down]",
        BlueprintRuleError,
        "line 11, node 'act', nodes[1].inputs[0]: value 'down'",
    ),
    "a cycle": ("inputs: [up]", "inputs: [act]", BlueprintRuleError, "value 'act' is neither"),
    "too many operands": ("inputs: [up]", "inputs: [up, up]", BlueprintRuleError, "op gelu takes 1 inputs, got 2"),
    "no operands": (", inputs: [up]", "", BlueprintRuleError, "op gelu takes 1 inputs, got 0"),
    "an unknown output": (
        "value: down",
        "value: lost",
        BlueprintRuleError,
        "line 8, output 'y', outputs[0].value: output 'lost'",
    ),
    "an output that is an input": ("value: down", "value: x", BlueprintRuleError, "outputs must be new values"),
    "a declared shape that differs": (
        "shape: [batch, 8], value",
        "shape: [batch, 9], value",
        BlueprintShapeError,
        "output 'y' is declared float32 [1, 9], but node 'down' gives float32 [1, 8]",
    ),
    "a declared dtype that differs": (
        "{name: y, dtype: float32",
        "{name: y, dtype: int64",
        BlueprintShapeError,
        "declared int64",
    ),
    "a mismatched shape": (
        "in_features: 16",
        "in_features: 17",
        BlueprintShapeError,
        "line 12, node 'down', nodes[2]: op linear needs last size 17",
    ),
    "an unknown dtype": (
        "{name: x, dtype: float32",
        "{name: x, dtype: float16",
        BlueprintRuleError,
        "must be one of float32",
    ),
    "an int64 input without bound": (
        "{name: x, dtype: float32",
        "{name: x, dtype: int64",
        BlueprintRuleError,
        "needs `below`",
    ),
    "a symbol without a range": (
        "shape: [batch, 8]}",
        "shape: [seq, 8]}",
        BlueprintRuleError,
        "line 6, input 'x', inputs[0].shape: unknown symbol seq; declared: batch",
    ),
    "a symbol of no input": (
        "batch: [1, 16]",
        "batch: [1, 16]\n  seq: [1, 4]",
        BlueprintRuleError,
        "line 5, symbols.seq: symbol 'seq' must stand alone",
    ),
    "an empty range": ("[1, 16]", "[16, 1]", BlueprintRuleError, "line 4, symbols.batch: the range 16 to 1 is empty"),
    "a range from zero": ("[1, 16]", "[0, 16]", BlueprintRuleError, "symbols.batch[0]"),
    "a keyword as symbol": ("batch", "lambda", BlueprintRuleError, "symbol 'lambda'"),
    "a power in a shape": (
        "shape: [batch, 8], value",
        "shape: ['batch**9', 8], value",
        BlueprintRuleError,
        "is not an expression",
    ),
    "a call in a shape": (
        "shape: [batch, 8], value",
        "shape: ['exit()', 8], value",
        BlueprintRuleError,
        "is not an expression",
    ),
    "a division by a symbol": (
        "shape: [batch, 8], value",
        "shape: ['8//batch', 8], value",
        BlueprintRuleError,
        "// needs a positive integer",
    ),
    "a size below one": ("shape: [batch, 8], value", "shape: ['batch-1', 8], value", BlueprintShapeError, "at batch=1"),
    "too many parameters": (
        "out_features: 16",
        "out_features: 100000000",
        BlueprintRuleError,
        "must be an integer from 1 to 1048576",
    ),
    "an initialisation of nothing": (
        "[up]}",
        "[up], initialisation: {weight: {kind: zeros}}}",
        BlueprintRuleError,
        "unknown key 'weight'; allowed here: no keys",
    ),
    "an unknown initialisation": (
        UP[-1:] + "\n" + ACT,
        ", initialisation: {bias: {kind: magic}}}\n" + ACT,
        BlueprintRuleError,
        "must be one of zeros, ones",
    ),
    "an infinite number": (
        UP[-1:] + "\n" + ACT,
        ", initialisation: {bias: {kind: constant, value: 1e999}}}\n" + ACT,
        BlueprintRuleError,
        "must be a number",
    ),
    "not a number": (
        UP[-1:] + "\n" + ACT,
        ", initialisation: {bias: {kind: constant, value: .nan}}}\n" + ACT,
        BlueprintRuleError,
        "must be a number",
    ),
    "sharing what is not there": (
        "id: act, op: gelu",
        "id: act, op: linear, module: nowhere",
        BlueprintRuleError,
        "'nowhere' is not an earlier linear node",
    ),
    "sharing another op": (
        "id: act, op: gelu",
        "id: act, op: gelu, module: up",
        BlueprintRuleError,
        "'up' is not an earlier gelu node",
    ),
    "a list for a mapping": (
        "symbols:\n  batch: [1, 16]",
        "symbols: []",
        BlueprintRuleError,
        "must be a mapping, not a list",
    ),
    "a mapping for a list": ("inputs: [up]", "inputs: {up: 1}", BlueprintRuleError, "must be a list, not a mapping"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_broken_rule_is_named_with_its_place(case):
    old, new, error, expected = REFUSED[case]
    assert old in TEXT
    text = TEXT.replace(old, new, 1)
    with pytest.raises(error) as caught:
        Blueprint.from_yaml(text)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_module_inside_another_and_a_reserved_name_are_refused():
    for old, new in (("act", "forward.act"), ("up", "state_dict"), ("up", "a.__init__")):
        text = TEXT.replace(f"id: {old},", f"id: {new},").replace(f"inputs: [{old}]", f"inputs: [{new}]")
        if old == "act":
            assert Blueprint.from_yaml(text)  # owns nothing, so its name is nobody's
            continue
        with pytest.raises(BlueprintRuleError, match=r"torch\.nn\.Module uses itself"):
            Blueprint.from_yaml(text)
    text = TEXT.replace("id: down", "id: up.down").replace("value: down", "value: up.down")
    with pytest.raises(BlueprintRuleError, match="lies inside node 'up'"):
        Blueprint.from_yaml(text)


def test_an_output_that_is_a_view_of_an_input_is_refused():
    text = TEXT.replace("op: gelu, inputs: [up]", "op: transpose, inputs: [x], attributes: {dim0: 0, dim1: 1}")
    text = text.replace("[act]", "[x]").replace("in_features: 16", "in_features: 8")
    text = text.replace("shape: [batch, 8], value: down", "shape: [8, batch], value: act")
    with pytest.raises(BlueprintRuleError, match="'x' itself or a view of it"):
        Blueprint.from_yaml(text)


def test_a_file_is_named_in_its_error(tmp_path: Path):
    path = tmp_path / "bad.yaml"
    path.write_text(TEXT.replace("gelu", "gleu"))
    with pytest.raises(BlueprintRuleError, match=r"bad\.yaml: line 11"):
        Blueprint.from_yaml(path)
    path.write_bytes(b"name: \xff")
    with pytest.raises(BlueprintMalformedError, match="byte 6: not UTF-8"):
        Blueprint.from_yaml(path)
    path.write_bytes("é".encode() * MAX_SOURCE_BYTES)
    with pytest.raises(BlueprintTooLargeError):
        Blueprint.from_yaml(path)
    with pytest.raises(BlueprintMalformedError, match=r"none\.yaml: cannot be read"):
        Blueprint.from_yaml(tmp_path / "none.yaml")
