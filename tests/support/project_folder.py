"""A throw-away project folder with its own embedded servers, stopped and deleted afterwards whatever happened."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from morph_assets.devservices.launch import stop_running
from morph_assets.devservices.layout import HomeLayout


@pytest.fixture
def project_folder() -> Iterator[Path]:
    """A project folder of one test; its home is `.morph` in it, with a path short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="morph-", dir="/tmp"))
    yield folder
    for home in {path.parent for path in folder.rglob("supervisor.lock")}:
        stop_running(HomeLayout(home))
    shutil.rmtree(folder)


@pytest.fixture
def project_of_nobody(project_folder) -> Path:
    """A project folder that belongs to an ordinary user, whose uid is the folder's owner."""
    if os.geteuid() == 0:
        os.chown(project_folder, 65534, 65534)
    return project_folder
