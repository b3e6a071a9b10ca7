"""Tenants, events, blueprints, kernels, aliases, leases, checkpoints: the registry's final bones."""

from morph_assets.registry.migrations.statements import apply_folder

revision = "v0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create everything."""
    apply_folder(revision)
