"""The training loop's side of growth: seed slots, lifecycle, epochs.

Not here: how kernels are found or checkpoints stored.
"""
