"""The main job, end to end: build and prove a library of kernels, grow a network with them, kill it, bring it back.

Not here: anything that a real training job could not do the same way.
"""
