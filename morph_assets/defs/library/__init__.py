"""The library of kernels as a whole: one frame, one suite of expectations.

Not here: whether a single kernel may be published.
"""
