"""Takes a kernel that the test session compiled into a project with embedded servers of its own."""

import shutil
from pathlib import Path

from morph_assets.config import read_config
from morph_assets.platform import Platform
from tests.support.kernels import TestKernel
from tests.support.platform import TestPlatform


def open_project(project: Path) -> Platform:
    """Return the platform of a project folder in which `morph up` ran."""
    return Platform.connect(read_config({"MORPH_HOME": str(project / ".morph")}, start=project))


def register_in_project(project: Path, kernel: TestKernel) -> None:
    """Submit the kernel's blueprint and register the kernel, as a build there would have."""
    with open_project(project) as platform:
        platform.submit_blueprint(kernel.blueprint)
        TestPlatform(platform, platform.connections.config, lambda _name: kernel).register(kernel)


def share_headers(project: Path, kernel_cache: Path) -> None:
    """Give a project the precompiled headers of the test session, which cost twenty seconds."""
    headers = project / ".morph" / "headers"
    shutil.rmtree(headers, ignore_errors=True)
    (kernel_cache / "headers").mkdir(exist_ok=True)
    headers.symlink_to(kernel_cache / "headers")
