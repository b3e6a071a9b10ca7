"""The platform: registry, use cases, Dagster definitions and the command line.

What runs inside a training job lives in `morph_kernels` instead.
"""
