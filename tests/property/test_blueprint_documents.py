"""Whatever the graph: its bytes come back as the same blueprint. Whatever the text: only a BlueprintError."""

import json
import random

import pytest
import torch
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from morph_kernels.blueprint import Blueprint, BlueprintError, library_paths

TEXTS = [path.read_text() for path in library_paths()]
UNARY = ["relu", "silu", "sigmoid", "tanh", "gelu", "softplus", "square", "neg"]


@st.composite
def documents(draw):
    """Draw a valid document: values of shape [batch, width], each node from earlier values."""
    width = draw(st.sampled_from([4, 6, 8]))
    least = draw(st.integers(1, 3))
    values: dict[str, int] = {"x": width}
    owners: list[dict] = []
    nodes: list[dict] = []
    for index in range(draw(st.integers(1, 8))):
        source = draw(st.sampled_from(sorted(values)))
        node = draw(_nodes(f"n{index}", source, values, owners))
        values[node["id"]] = node.pop("width")
        if node["op"] == "linear" and "module" not in node:
            owners.append(node)
        nodes.append(node)
    # The last node is new memory, so it may be an output.
    nodes.append({"id": "last", "op": "mul_scalar", "inputs": [nodes[-1]["id"]], "attributes": {"value": 0.5}})
    output = {"name": "y", "dtype": "float32", "shape": ["batch", values[nodes[-2]["id"]]], "value": "last"}
    return {
        "name": "drawn",
        "symbols": {"batch": [least, draw(st.integers(least, 9))]},
        "inputs": [{"name": "x", "dtype": "float32", "shape": ["batch", width]}],
        "outputs": [output],
        "nodes": nodes,
    }


@st.composite
def _nodes(draw, name, source, values, owners):
    size = values[source]
    fitting = [owner for owner in owners if owner["attributes"]["in_features"] == size]
    alike = sorted(value for value, width in values.items() if width == size)
    inputs, width, extra = [source], size, {}
    op = draw(st.sampled_from([*UNARY, "linear", "layer_norm", "rms_norm", "dropout", "add", "cat", "reshape"]))
    if op == "linear" and fitting and draw(st.booleans()):
        owner = draw(st.sampled_from(fitting))
        width, extra = owner["attributes"]["out_features"], {"module": owner["id"]}
    elif op == "linear":
        width = draw(st.integers(1, 8))
        extra = {"attributes": {"in_features": size, "out_features": width, "bias": draw(st.booleans())}}
    elif op in {"layer_norm", "rms_norm"}:
        extra = {"attributes": {"normalized_shape": [size], "eps": draw(st.floats(1e-9, 0.5))}}
    elif op == "dropout":
        extra = {"attributes": {"p": draw(st.floats(0, 1))}}
    elif op == "reshape":
        extra = {"attributes": {"shape": ["batch", size]}}
    elif op == "add":
        inputs = [source, draw(st.sampled_from(alike))]
    elif op == "cat":
        other = draw(st.sampled_from(sorted(values)))
        inputs, width, extra = [source, other], size + values[other], {"attributes": {"dim": -1}}
    return {"id": name, "op": op, "inputs": inputs, "width": width, **extra}


def _shuffled(value, order):
    if isinstance(value, dict):
        keys = sorted(value)
        order.shuffle(keys)
        return {key: _shuffled(value[key], order) for key in keys}
    return [_shuffled(item, order) for item in value] if isinstance(value, list) else value


@given(document=documents(), seed=st.integers(0, 2**32), flow=st.booleans(), indent=st.integers(2, 6))
@settings(max_examples=80, deadline=None)
def test_bytes_come_back_and_the_order_of_keys_and_spaces_does_not_matter(document, seed, flow, indent):
    blueprint = Blueprint.from_yaml(json.dumps(document) + "\n")
    again = Blueprint.from_bytes(blueprint.to_bytes(), name="other")
    assert again.digest == blueprint.digest
    assert again.document == blueprint.document
    shuffled = _shuffled(document, random.Random(seed))  # noqa: S311  a test's order, nothing secret
    dumper = yaml.SafeDumper
    dumper.ignore_aliases = lambda *_: True
    text = yaml.dump(shuffled, Dumper=dumper, sort_keys=False, default_flow_style=flow, indent=indent, width=1000)
    assert Blueprint.from_yaml(text + "\n").digest == blueprint.digest


@given(document=documents(), seed=st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_what_the_rules_admit_builds_and_gives_the_declared_shape(document, seed):
    blueprint = Blueprint.from_yaml(json.dumps(document) + "\n")
    module = blueprint.build(seed=seed)
    least, most = document["symbols"]["batch"]
    for size in {least, most}:
        inputs = blueprint.interface.example_inputs({"batch": size})
        (spec,) = blueprint.interface.outputs
        assert tuple(module(*inputs).shape) == spec.sizes({"batch": size})
    again = Blueprint.from_bytes(blueprint.to_bytes(), name="other").build(seed=seed)
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), again.parameters(), strict=True))


FRAGMENTS = st.one_of(
    st.sampled_from(
        ["&a", "*a", "!!int", "<<: *a", "%", "{", "}", "[", "]", ":", "-", "|", ">", "'", '"', "---", "..."]
    ),
    st.sampled_from(
        ["~", "null", "true", ".nan", ".inf", "1e999", "0", "-1", "9" * 40, "1.5", "\n", "\t", "\x00", "\x85"]
    ),
    st.sampled_from(["batch**9", "batch//0", "(" * 30, "2*batch", "\ufeff", chr(0xD800), '"a\\nb": 1']),
    st.sampled_from(["x", "batch", "up", "linear", "value", "module", "attributes"]),
    st.text(max_size=6),
)


@st.composite
def mutated_texts(draw):
    """Draw a shipped file with a few places cut, doubled or overwritten."""
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        stop = min(len(text), start + draw(st.sampled_from([0, 1, 3, 10, 40])))
        text = text[:start] + draw(FRAGMENTS | st.just(text[start:stop] * 2)) + text[stop:]
    return text + "\n"


@given(text=mutated_texts())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_mutated_file_is_read_or_refused_in_one_line(text):
    _read_or_refuse(lambda: Blueprint.from_yaml(text))


def _read_or_refuse(read):
    """Whatever else is raised fails the test."""
    try:
        found = read()
    except BlueprintError as error:
        said = str(error)
    else:
        assert Blueprint.from_bytes(found.to_bytes(), name="again") == found
        return
    assert said.isprintable()
    assert len(said) < 2000


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["x", "batch", "linear"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(index=st.integers(0, len(TEXTS) - 1), path=st.lists(st.integers(0, 40), max_size=6), value=JSON_VALUES)
@example(index=0, path=[], value=float("nan"))
@settings(max_examples=300, deadline=None)
def test_a_document_with_any_value_anywhere_is_read_or_refused(index, path, value):
    blueprint = Blueprint.from_yaml(TEXTS[index])
    document = root = {"root": json.loads(blueprint.to_bytes())}
    key = "root"
    for step in path:
        inner = root[key]
        if not isinstance(inner, dict | list) or not inner:
            break
        root, key = inner, (sorted(inner)[step % len(inner)] if isinstance(inner, dict) else step % len(inner))
    root[key] = value
    data = json.dumps(document["root"], ensure_ascii=False).encode("utf-8", "replace")
    _read_or_refuse(lambda: Blueprint.from_bytes(data, name="any"))


@given(data=st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_refused(data):
    with pytest.raises(BlueprintError):
        Blueprint.from_bytes(data, name="any")
