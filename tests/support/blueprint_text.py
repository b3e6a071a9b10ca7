"""A small blueprint as somebody writes it, for tests that change one word of it."""

TEXT = """\
name: block
tags: [mlp]
symbols:
  batch: [1, 16]
inputs:
  - {name: x, dtype: float32, shape: [batch, 8]}
outputs:
  - {name: y, dtype: float32, shape: [batch, 8], value: down}
nodes:
  - {id: up, op: linear, inputs: [x], attributes: {in_features: 8, out_features: 16}}
  - {id: act, op: gelu, inputs: [up]}
  - {id: down, op: linear, inputs: [act], attributes: {in_features: 16, out_features: 8}}
"""
