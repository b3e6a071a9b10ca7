"""Benchmarks of the platform on servers of their own, and the one form in which each of them answers.

Not here: what is measured. A benchmark calls the same functions as everybody, with the rights of whoever may do it.
"""
