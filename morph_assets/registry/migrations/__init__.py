"""The migrations of schema `morph`, forward only; `sql/` holds tables, a folder a version, and in `current` the rest.

Functions, triggers and policies have no history: `sql/current` is their one definition, made anew when it changed.
Not here: what runs them (`morph_assets.registry.migrate`).
"""
