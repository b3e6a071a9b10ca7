"""The partitions: what is active now. The registry holds the rest; Dagster never carries more than these."""

import dagster as dg

from morph_assets.usecases.prepare_dagster import ACTIVE_BLUEPRINTS

MAX_ACTIVE_BLUEPRINTS = 2000
MAX_ACTIVE_RUNS = 500

active_blueprints = dg.DynamicPartitionsDefinition(name=ACTIVE_BLUEPRINTS)
active_runs = dg.DynamicPartitionsDefinition(name="active_runs")
