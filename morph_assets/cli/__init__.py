"""The command line, one file a command group.

Not here: work; it calls use cases and prints.
"""
