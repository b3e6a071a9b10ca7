"""The tiers between a process and the object store.

Not here: what to do with a kernel once it is found.
"""
