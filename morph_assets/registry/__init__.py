"""The source of truth: tables, migrations, records and queries, and all the SQL there is.

Not here: bytes of artifacts.
"""
