"""Judges a built kernel: numerics, resources, tags, and a pure verdict.

Not here: building or publishing it.
"""
