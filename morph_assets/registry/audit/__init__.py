"""Whether the log is genuine: its hashes, its archived segments, the anchors outside, and what tells them apart.

Not here: what the events mean (`morph_assets.registry.replay`), or who signs and stores.
"""
