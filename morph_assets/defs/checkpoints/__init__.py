"""The checkpoints of training runs, as Dagster sees them: made elsewhere, reported here.

Not here: saving or restoring one.
"""
