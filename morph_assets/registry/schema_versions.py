"""Which versions of the schema this code knows."""

from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory

_MIGRATIONS = Path(__file__).parent / "migrations"


def known_versions() -> tuple[str, ...]:
    """Return every version, newest first."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return tuple(script.revision for script in ScriptDirectory.from_config(config).walk_revisions())
