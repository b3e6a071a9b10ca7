"""Saves and restores training state bit for bit.

Not here: what a training step is.
"""
