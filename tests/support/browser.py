"""A headless Chromium, as a person's eyes on a page."""

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

_TIMEOUT_S = 120
_VIRTUAL_TIME_MS = 20_000
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--hide-scrollbars",
    f"--virtual-time-budget={_VIRTUAL_TIME_MS}",
)


@dataclass(frozen=True)
class Browser:
    """A Chromium and the folder that keeps what it saw."""

    binary: str
    shots: Path

    def read(self, url: str) -> str:
        """Return the page's text as it stands once it is loaded, without markup."""
        document = self._run("--dump-dom", url)
        return re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", document, flags=re.DOTALL)

    def photograph(self, url: str, name: str) -> Path:
        """Keep a screenshot of the page."""
        path = self.shots / f"{name}.png"
        self._run(f"--screenshot={path}", "--window-size=1600,1000", url)
        return path

    def _run(self, *arguments: str) -> str:
        with tempfile.TemporaryDirectory(prefix="morph-browser-") as profile:
            command = [self.binary, *_FLAGS, f"--user-data-dir={profile}", *arguments]
            ran = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_TIMEOUT_S)
        return ran.stdout


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    """Chromium, if this machine has one; in CI it must. `MORPH_TEST_SHOTS` names a folder that keeps the pictures."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        advice = "no chromium: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(advice)
        pytest.skip(advice)
    kept = os.environ.get("MORPH_TEST_SHOTS")
    shots = Path(kept) if kept else tmp_path_factory.mktemp("shots")
    shots.mkdir(parents=True, exist_ok=True)
    return Browser(found, shots)


def count_colours(picture: Path) -> int:
    """Return how many different colours a screenshot has; a blank page has one or two."""
    import numpy as np
    from matplotlib.image import imread

    pixels = imread(picture)
    return len(np.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0))
