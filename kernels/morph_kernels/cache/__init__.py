"""The tiers between a process and the object store, each asked within one deadline, none of them trusted.

Not here: whether what a tier holds may run; the loader verifies it.
"""
