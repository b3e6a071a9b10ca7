"""`morph dev`: the real web server and the real daemon, from a submitted blueprint to a kernel in service."""

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from morph_assets.registry.builds import count_builds
from morph_kernels.loader import BlueprintUnreachableError
from tests.support.browser import Browser, count_colours
from tests.support.command_line import REPOSITORY, run_morph
from tests.support.compiled_project import open_project
from tests.support.seaweedfs import free_ports
from tests.support.served import ServedProject, eventually, processes_of, serve

pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]

GELU = REPOSITORY / "kernels" / "morph_kernels" / "blueprint" / "library" / "ffn_gelu.yaml"
ASSETS = ("compiled_kernel", "kernel_evaluation", "published_kernel")
_WAY_S = 300.0


@pytest.fixture(scope="module")
def published(served_project: ServedProject) -> ServedProject:
    """The served project after the daemon carried one submitted blueprint all its way."""
    ran = run_morph("blueprint", "submit", str(GELU), cwd=served_project.folder)
    assert ran.returncode == 0, ran.stderr
    with open_project(served_project.folder) as platform:
        done = eventually(lambda: any(k.state == "PUBLISHED" for k in platform.list_kernels()), within_s=_WAY_S)
    assert done, (served_project.folder / ".morph" / "logs" / "daemon.log").read_text()[-4000:]
    return served_project


def runs(served: ServedProject) -> list[dict]:
    found = served.ask("{runsOrError {... on Runs {results {status assetSelection {path}}}}}")
    return found["runsOrError"]["results"]


def test_a_submitted_blueprint_is_published_by_itself_and_built_once(published):
    with open_project(published.folder) as platform:
        (kernel,) = platform.list_kernels()
        assert kernel.names == ["ffn_gelu"]
        assert count_builds(platform.connections.registry("platform")) == {"built": 1, "redundant": 0, "failed": 0}
        # A loader's deadline is short, and this machine is building and serving at the same time.
        assert eventually(lambda: loaded_digest(platform) == kernel.digest, within_s=60)


def loaded_digest(platform):
    """Return the kernel that a loader of this host gets now, or None where no server answered it in time."""
    try:
        return platform.why("ffn_gelu@production").digest
    except BlueprintUnreachableError:
        return None


def test_one_run_took_the_whole_way_and_its_checks_were_run(published):
    assert eventually(lambda: all(run["status"] == "SUCCESS" for run in runs(published)), within_s=120)

    # What is looked at every hour may have been due meanwhile, in a run of its own; a job may select no asset.
    selections = [sorted(key["path"][0] for key in run["assetSelection"] or ()) for run in runs(published)]
    assert [names for names in selections if set(names) & set(ASSETS)] == [list(ASSETS)]
    checked = published.ask(
        """{assetNodes(assetKeys: [{path: ["compiled_kernel"]}, {path: ["published_kernel"]}]) {
            assetChecksOrError {... on AssetChecks {checks {
                name executionForLatestMaterialization {status evaluation {partition}}}}}}}"""
    )
    checks = [check for node in checked["assetNodes"] for check in node["assetChecksOrError"]["checks"]]
    assert {check["name"]: check["executionForLatestMaterialization"]["status"] for check in checks} == {
        "kernel_is_signed": "SUCCEEDED",
        "kernel_was_built_once": "SUCCEEDED",
        "published_kernel_is_loadable": "SUCCEEDED",
    }


def test_blueprints_that_nobody_submitted_are_not_built(published):
    with open_project(published.folder) as platform:
        assert [release.name for release in platform.list_blueprints()] == ["ffn_gelu"]


@pytest.mark.parametrize(
    ("name", "path", "words"),
    [
        ("graph", "/asset-groups", ("blueprints", "kernels", "library", "training")),
        ("kernels", "/locations/__repository__@morph/asset-groups/kernels", (*ASSETS, "checkpoint", "blueprint")),
        (
            "compiled_kernel",
            "/assets/compiled_kernel?view=partitions&partition=ffn_gelu",
            ("compiled_kernel", "ffn_gelu", "build_s", "x86-64-v3"),
        ),
        ("checks", "/assets/kernel_evaluation?view=checks", ("gradients_match_eager", "kernel_passed_evaluation")),
    ],
)
def test_the_page_shows_what_it_is_about(published, browser: Browser, name, path, words):
    text = browser.read(published.url + path)
    picture = browser.photograph(published.url + path, name)

    assert [word for word in words if word not in text] == []
    assert count_colours(picture) > 50


def test_every_automation_is_shown_and_runs(published):
    found = published.ask(
        "{repositoriesOrError {... on RepositoryConnection {nodes {sensors {name sensorState {status}}}}}}"
    )

    (repository,) = found["repositoriesOrError"]["nodes"]
    assert {sensor["name"]: sensor["sensorState"]["status"] for sensor in repository["sensors"]} == dict.fromkeys(
        (
            "artifact_integrity",
            "automation",
            "blueprint_arrivals",
            "build_requests",
            "cache_pressure",
            "cache_warming",
            "checkpoint_commits",
            "index_relay",
        ),
        "RUNNING",
    )


def test_a_port_that_is_taken_is_one_clear_line(project_folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        ran = run_morph("dev", "--port", str(port), cwd=project_folder)

    assert ran.returncode == 1
    assert ran.stderr == f"morph: port {port} on 127.0.0.1 is taken: choose another with --port\n"


def test_interrupted_it_leaves_nothing_running(project_folder: Path):
    process = _started(project_folder)

    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 0, errors
    assert eventually(lambda: processes_of(project_folder) == [], within_s=10)


def test_killed_it_takes_its_servers_with_it(project_folder: Path):
    process = _started(project_folder)

    process.kill()
    process.communicate(timeout=60)

    assert eventually(lambda: _dagsters(project_folder) == [], within_s=60)


def test_a_daemon_that_dies_ends_it_with_one_line_that_names_the_log(project_folder: Path):
    process = _started(project_folder)
    (daemon,) = [pid for pid in _dagsters(project_folder) if b"dagster._daemon" in _command(pid)]

    _kill(daemon)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "daemon ended with status -9: see" in errors
    assert eventually(lambda: processes_of(project_folder) == [], within_s=10)


def test_asked_to_stop_after_all_its_work_it_leaves_its_servers_alone(published: ServedProject):
    """The last one here: it ends what the others look at."""
    published.process.send_signal(signal.SIGTERM)
    _, errors = published.process.communicate(timeout=60)

    assert published.process.returncode == 0, errors
    assert eventually(lambda: _dagsters(published.folder) == [], within_s=10)
    assert run_morph("status", cwd=published.folder).returncode == 0


def _started(folder: Path) -> subprocess.Popen[str]:
    (port,) = free_ports(1)
    process = serve(folder, "--port", str(port))
    assert process.stdout.readline().startswith("Dagster serves at ")
    return process


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _dagsters(folder: Path) -> list[int]:
    return [pid for pid in processes_of(folder) if b"dagster" in _command(pid).replace(b"morph_assets", b"")]
