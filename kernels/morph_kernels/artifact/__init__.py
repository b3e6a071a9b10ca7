"""What a compiled kernel is on paper: manifest, attestations, trust, index, and the verdict about them.

Not here: fetching bytes or running them.
"""
