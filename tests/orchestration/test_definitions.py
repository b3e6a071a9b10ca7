"""The Dagster definitions as a whole."""

import dagster as dg

from morph_assets.definitions import defs


def test_the_definitions_load():
    dg.Definitions.validate_loadable(defs)
