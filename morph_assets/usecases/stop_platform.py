"""Stops the embedded platform and, asked to, deletes everything it stored."""

import shutil

from morph_assets.config import PlatformFolders
from morph_assets.devservices.env_file import ENV_FILE_NAME, remove_env_block
from morph_assets.devservices.home import is_home, require_purgeable
from morph_assets.devservices.launch import stop_running
from morph_assets.devservices.layout import HomeLayout
from morph_assets.devservices.locks import exclusive

_LOCK_TIMEOUT_S = 120.0


def stop_platform(folders: PlatformFolders, *, purge: bool = False) -> bool:
    """Stop the servers in order; return whether any ran. With `purge` delete the home folder, and our block of `.env`.

    Raises:
        ServicesError: asked to purge a folder that is not a Morph home; nothing was deleted.
    """
    home = folders.home
    if purge:
        require_purgeable(home)
    if not is_home(home):
        return False
    layout = HomeLayout(home)
    with exclusive(home, timeout_s=_LOCK_TIMEOUT_S):
        was_running = stop_running(layout)
        if purge:
            remove_env_block(folders.project / ENV_FILE_NAME)
            shutil.rmtree(home)
    return was_running
