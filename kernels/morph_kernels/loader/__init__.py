"""Gives a working module at once: compiled if trusted and in time, eager otherwise.

Not here: building kernels.
"""
