"""`morph backup` and `morph restore`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from morph_assets.cli.output import print_error, print_json, print_line, progress_bar
from morph_assets.cli.platform_session import JsonOption, explained_errors
from morph_assets.config import read_folders, read_tenant

if TYPE_CHECKING:
    from morph_assets.archive.manifest import BackupManifest


def backup(
    destination: Annotated[Path, typer.Argument(help="A folder that is not there yet.")],
    with_keys: Annotated[
        bool, typer.Option("--with-keys", help="Save the private keys too: the backup is then a secret.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Save both databases, every object and the public trust into one folder, while the platform works.

    The folder appears whole or not at all. Exit status 1 where an object that the registry names could not be saved.

    Example: morph backup /mnt/backups/monday
    """
    from morph_assets.usecases.backup_platform import backup_platform

    with explained_errors(as_json=as_json):
        made = backup_platform(read_folders(), destination, progress_bar, with_keys=with_keys)
    if as_json:
        print_json({"folder": made.folder, **_shown(made.manifest)})
    else:
        print_line(f"saved {_sentence(made.manifest)} to {made.folder}")
        print_line("with the private keys" if with_keys else "without private keys: keep those elsewhere")
    for missing in made.manifest.missing:
        print_error(f"object {missing.key} is not in the backup: {missing.reason}")
    if not made.manifest.is_complete:
        raise typer.Exit(1)


def restore(
    source: Annotated[Path, typer.Argument(help="The folder of a backup.")],
    with_keys: Annotated[bool, typer.Option("--with-keys", help="Restore the private keys too.")] = False,
    timeline: Annotated[
        int | None, typer.Option(min=2, help="Of the new timeline; by default above all known ones.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Verify a backup and bring it back into an empty $MORPH_HOME, or into empty servers of your own.

    What happened after the backup is gone. A new timeline begins: whoever still holds a lease from before is refused,
    and every index is published anew. Without the private keys kernels can be loaded, and nothing can be published.

    Example: MORPH_HOME=/srv/morph morph restore /mnt/backups/monday --with-keys
    """
    from morph_assets.usecases.restore_platform import restore_platform

    with explained_errors(as_json=as_json):
        done = restore_platform(
            read_folders(), source, progress_bar, tenant=read_tenant(), with_keys=with_keys, timeline=timeline
        )
    if as_json:
        print_json({"timeline": done.timeline, "published": list(done.published), **_shown(done.manifest)})
        return
    print_line(f"restored {_sentence(done.manifest)}, as of {done.manifest.created_at:%Y-%m-%d %H:%M:%S} UTC")
    print_line(f"timeline {done.timeline} begins; {len(done.published)} indexes were published anew")
    if not with_keys:
        print_line("no private keys: kernels can be loaded and trained with, nothing can be published")


def _sentence(manifest: "BackupManifest") -> str:
    events = sum(head.seq for head in manifest.heads.values())
    return (
        f"{len(manifest.heads)} tenants, {events} events, {manifest.object_count} objects, "
        f"{manifest.size_bytes / 1e6:.1f} MB"
    )


def _shown(manifest: "BackupManifest") -> dict[str, Any]:
    return {
        "created_at": manifest.created_at,
        "schema_version": manifest.schema_version,
        "saved_timeline": manifest.timeline,
        "heads": manifest.heads,
        "objects": manifest.object_count,
        "size_bytes": manifest.size_bytes,
        "with_keys": manifest.with_keys,
        "missing_count": manifest.missing_count,
        "missing": list(manifest.missing),
    }
