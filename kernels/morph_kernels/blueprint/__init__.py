"""A module's design as immutable data: the IR, its rules, its digest, and how to build a module from it.

Not here: anything compiled, signed or stored.
"""
