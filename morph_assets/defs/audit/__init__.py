"""The audit log as an asset, its daily check, and the job that anchors it outside of the database.

Not here: what makes a log genuine.
"""
