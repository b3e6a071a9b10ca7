"""Work on the platform itself, by the week: what Dagster keeps for ever is deleted.

Not here: what may go.
"""
