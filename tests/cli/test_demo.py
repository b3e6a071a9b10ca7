"""The main job as people run it, with the three kernels that the demo's network grows."""

import json
import subprocess

import pytest

from morph_assets.demo.digits import GROWTH
from tests.support.command_line import clean_environment, morph_command, run_morph
from tests.support.compiled_project import open_project, register_in_project, share_headers
from tests.support.started_programs import started_programs

pytestmark = pytest.mark.slow


def play(project):
    """Play the demo to its end; return what it printed."""
    done = subprocess.run(
        morph_command("demo", *GROWTH),
        cwd=project,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.timeout(600)
def test_the_demo_builds_grows_dies_recovers_and_the_second_one_builds_nothing(project_folder, kernel_cache, compiled):
    assert run_morph("up", cwd=project_folder).returncode == 0
    share_headers(project_folder, kernel_cache)
    # Two of the three were compiled in this session before; the last one is compiled by the demo.
    for name in GROWTH[:2]:
        register_in_project(project_folder, compiled(name))

    printed = play(project_folder)
    folder = project_folder / ".morph" / "demo"
    summary = json.loads((folder / "summary.json").read_text())
    facts = {name: summary[name] for name in ("kernels_published", "kernels_built_now", "compiled_bodies")}
    assert facts == {"kernels_published": 3, "kernels_built_now": 1, "compiled_bodies": 3}
    assert summary["inductor_imported"] is False
    assert summary["recovered_bitwise"] is True
    assert summary["test_accuracy"] >= 0.95
    assert summary["recovery_s"] < 20
    assert "bit for bit the uninterrupted run" in printed
    assert all(name in printed for name in GROWTH)
    assert (folder / "training.png").read_bytes().startswith(b"\x89PNG")

    with open_project(project_folder) as platform:
        before = platform.counts().builds
        # What a second demo does before it trains.
        with started_programs() as programs:
            assert [platform.compile_kernel(name).built for name in GROWTH] == [False] * 3
            assert [platform.evaluate_kernel(name).evaluated for name in GROWTH] == [False] * 3
        assert programs == []
        assert platform.counts().builds == before
