"""The way of a kernel as assets: compiled, evaluated, published, each with its checks.

Not here: how any of that is done, or who may do it.
"""
