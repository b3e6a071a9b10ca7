"""What a backup is made of: manifest, a folder that appears whole or not at all, dumps of databases, copied objects.

Not here: which servers, in what order, and what stands in the registry.
"""
