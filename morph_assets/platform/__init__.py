"""The public face of the platform: every use case as one method, for assets, notebooks and the command line.

Not here: what a method does; each calls one use case, or reads one list of the registry.
"""

from morph_assets.platform.curation import Curation
from morph_assets.platform.delivery import Delivery
from morph_assets.platform.history import History
from morph_assets.platform.library import Library

__all__ = ["Platform"]


class Platform(Library, Curation, Delivery, History):
    """One tenant's platform.

    Threads may share it. Everything that it opens, it opens when first used, and again after `close`. Errors are
    `MorphError`s that say in one line what to do.
    """
