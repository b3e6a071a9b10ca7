"""`morph upgrade`."""

from morph_assets.cli.output import print_json, print_line, progress_bar
from morph_assets.cli.platform_session import JsonOption, explained_errors
from morph_assets.config import read_folders, read_tenant


def upgrade(as_json: JsonOption = False) -> None:
    """Back up into $MORPH_HOME/backups, migrate the registry to this version, and check that nothing is missing.

    With servers of your own MORPH_OPERATOR_DATABASE_URL names a login that owns the database.

    Example: morph upgrade
    """
    from morph_assets.usecases.upgrade_platform import upgrade_platform

    with explained_errors(as_json=as_json):
        done = upgrade_platform(read_folders(), progress_bar, tenant=read_tenant())
    if as_json:
        found = {"from_version": done.from_version, "to_version": done.to_version, "events": done.events}
        print_json({**found, "backup": done.backup.folder})
        return
    changed = f"from {done.from_version} to" if done.from_version != done.to_version else "is at"
    print_line(f"the schema {changed} {done.to_version}; {done.events} events and every chain hold")
    print_line(f"as it was before: {done.backup.folder}")
