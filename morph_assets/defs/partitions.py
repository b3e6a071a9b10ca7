"""The partitions: what is active now. The registry holds the rest; Dagster never carries more than these."""

import dagster as dg

MAX_ACTIVE_BLUEPRINTS = 2000
MAX_ACTIVE_RUNS = 500

active_blueprints = dg.DynamicPartitionsDefinition(name="active_blueprints")
active_runs = dg.DynamicPartitionsDefinition(name="active_runs")
