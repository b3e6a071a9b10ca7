"""Checkpoints: any past point of a run, by name and branch."""

from morph_assets.registry.migrations.statements import apply_folder

revision = "v0004"
down_revision = "v0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it."""
    apply_folder(revision)
