"""Metrics, history and reports about the platform.

Not here: acting on them.
"""
