"""The tiers of the kernel cache: their state and evictions as assets, scrubs as a check, and the jobs that run them.

Not here: what is dropped or how damage is mended.
"""
