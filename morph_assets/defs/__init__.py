"""The Dagster definitions, by domain.

Thin translations of use cases; not here: decisions.
"""
