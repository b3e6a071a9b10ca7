"""Blueprints as an asset: what was submitted, by name.

Not here: reading or judging one.
"""
