"""The tiers of the kernel cache: their state as an asset, eviction and scrub as jobs.

Not here: what is dropped or how damage is mended.
"""
