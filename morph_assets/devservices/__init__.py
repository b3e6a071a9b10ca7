"""The embedded PostgreSQL and Valkey under one supervisor.

Not here: anything a production server does by itself.
"""
