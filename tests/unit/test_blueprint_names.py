"""The names that a state_dict path may not have are those of the installed torch."""

from torch import nn

from morph_kernels.blueprint import Blueprint
from morph_kernels.blueprint.names import RESERVED_SEGMENTS

TEXT = """
name: named
symbols: {}
inputs: [{name: x, dtype: float32, shape: [2, 4]}]
outputs: [{name: y, dtype: float32, shape: [2, 4], value: layer}]
nodes:
  - {id: layer, op: linear, inputs: [x], attributes: {in_features: 4, out_features: 4}}
"""


def test_every_attribute_of_a_module_is_reserved():
    body = Blueprint.from_yaml(TEXT).build()
    own = {name for module in (nn.Module(), body) for name in dir(module) if not name.startswith("__")}
    assert own - {"layer"} <= RESERVED_SEGMENTS
