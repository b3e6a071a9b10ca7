"""Small kernels that show several faults if the recipe for compiling them were wrong.

In TRAPS `turned` is a transposed view; `centre` sums over everything, so threads share an array; both sizes are
symbols, and the backward needs them as numbers; `product` and the tangent are buffers that the backward would like to
reuse. In CONVOLUTIONS the compiler prefers another layout for `act`, which the backward needs.
"""

from morph_kernels.blueprint import Blueprint

TRAPS = Blueprint.from_yaml("""
name: traps
symbols:
  batch: [1, 4096]
  seq: [1, 64]
inputs:
  - {name: x, dtype: float32, shape: [batch, seq, 8]}
outputs:
  - {name: y, dtype: float32, shape: [batch, 8, 8], value: scaled}
nodes:
  - {id: up, op: linear, inputs: [x], attributes: {in_features: 8, out_features: 8}}
  - {id: turned, op: transpose, inputs: [up], attributes: {dim0: 1, dim1: 2}}
  - {id: act, op: tanh, inputs: [turned]}
  - {id: product, op: matmul, inputs: [act, up]}
  - {id: centre, op: mean, inputs: [up], attributes: {dims: [0, 1, 2], keepdim: true}}
  - {id: scaled, op: mul, inputs: [product, centre]}
""")

CONVOLUTIONS = Blueprint.from_yaml("""
name: convolutions
symbols: {}
inputs:
  - {name: x, dtype: float32, shape: [2, 72, 5, 5]}
outputs:
  - {name: y, dtype: float32, shape: [2, 72, 5, 5], value: out}
nodes:
  - {id: conv1, op: conv2d, inputs: [x], attributes: {in_channels: 72, out_channels: 72, kernel_size: 3, padding: 1}}
  - {id: act, op: tanh, inputs: [conv1]}
  - {id: conv2, op: conv2d, inputs: [act], attributes: {in_channels: 72, out_channels: 72, kernel_size: 3, padding: 1}}
  - {id: out, op: tanh, inputs: [conv2]}
""")
