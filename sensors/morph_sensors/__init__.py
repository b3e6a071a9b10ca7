"""Dagster sensors, one file each: they translate a pure plan into run requests.

Not here: deciding; the plans live with their use cases.
"""
