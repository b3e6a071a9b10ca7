"""Going over the library once a night: what stays, what goes, and what it frees.

Not here: which kernel goes, or how.
"""
