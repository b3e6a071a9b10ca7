"""What the platform does, one public function a file.

Not here: SQL, Dagster or printing.
"""
