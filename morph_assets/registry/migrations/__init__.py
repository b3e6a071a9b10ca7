"""The migrations of schema `morph`, forward only; `sql/` holds their statements, a folder a version.

Not here: what runs them (`morph_assets.registry.migrate`).
"""
