"""Immutable objects by key.

The only place that builds keys; not here: what the bytes mean.
"""
