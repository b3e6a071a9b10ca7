"""Which events each published index already tells of, and events about damaged artifacts."""

from morph_assets.registry.migrations.statements import apply_folder

revision = "v0002"
down_revision = "v0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them."""
    apply_folder(revision)
