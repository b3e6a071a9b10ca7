"""Turns a blueprint into signed-ready libraries in a sandbox.

Not here: signing, judging or storing them.
"""
