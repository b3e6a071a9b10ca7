"""What the distribution installs."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_wheel_installs_only_names_that_begin_with_morph(names):
    # `kernels` and `sensors` belong to other projects on PyPI: installing them would overwrite those.
    assert {name.split("/")[0].split("-")[0] for name in names} == {
        "morph_assets",
        "morph_kernels",
        "morph_sensors",
    }


def test_the_wheel_carries_its_data_files(names):
    found = {Path(name).name for name in names}
    assert {"ffn_gelu.yaml", "transformer_block.yaml", "py.typed"} <= found
    assert any(name.startswith("morph_assets/registry/") and name.endswith(".sql") for name in names)
