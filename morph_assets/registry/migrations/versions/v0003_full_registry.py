"""The registry in full: search, curation, anchored audit, usage, backups."""

from morph_assets.registry.migrations.statements import apply_folder

revision = "v0003"
down_revision = "v0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it."""
    apply_folder(revision)
