"""What the log says there is: a fold of events into the rows of the registry's tables, and the comparison with them.

Not here: checking that the log is genuine (`morph_assets.registry.audit`), or reading and writing archives.
"""

# Imported for what they register: each repeats the events of its subject.
from morph_assets.registry.replay import (
    approval,
    blueprints,
    checkpoints,
    imports,
    kernels,
    pins,
    removal,
    tenants,
    usage,
)

__all__ = ["approval", "blueprints", "checkpoints", "imports", "kernels", "pins", "removal", "tenants", "usage"]
