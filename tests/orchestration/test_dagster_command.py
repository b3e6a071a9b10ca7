"""Dagster's own command line in a project folder, right after `morph up`, with nothing else set by hand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import clean_environment, run_morph
from tests.support.compiled_project import open_project, register_in_project


@pytest.fixture
def project(project_folder) -> Path:
    """A project that is up."""
    ran = run_morph("up", cwd=project_folder)
    assert ran.returncode == 0, ran.stderr
    return project_folder


def dagster(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Dagster's command line as a person in the folder would: its `.env` is all it knows."""
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "morph_assets.definitions", *arguments]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=project, env=clean_environment(), timeout=240
    )


def test_a_shipped_kernel_is_materialised_by_its_name(project, compiled):
    kernel = compiled("ffn_gelu")
    register_in_project(project, kernel)

    ran = dagster(project, "--select", "compiled_kernel", "--partition", "ffn_gelu")

    assert ran.returncode == 0, ran.stderr
    assert f"kernel {kernel.manifest.digest}: found" in ran.stderr
    assert (project / "dagster_home" / "storage").is_dir()


def test_a_shipped_blueprint_needs_no_submission(project):
    ran = dagster(project, "--select", "blueprint", "--partition", "conv_groupnorm")

    assert ran.returncode == 0, ran.stderr
    with open_project(project) as platform:
        assert [release.name for release in platform.list_blueprints()] == ["conv_groupnorm"]


@pytest.mark.parametrize("key", ["nobodys", "a|b"])
def test_a_key_that_is_no_active_blueprint_is_refused_by_name(project, key):
    ran = dagster(project, "--select", "compiled_kernel", "--partition", key)

    assert ran.returncode != 0
    assert f"`{key}`" in ran.stderr
    with open_project(project) as platform:
        assert platform.list_blueprints() == []


def test_a_home_of_dagster_that_is_there_is_left_as_it_is(project_folder):
    home = project_folder / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")

    assert run_morph("up", cwd=project_folder).returncode == 0

    assert (home / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"


def test_a_home_of_dagster_that_cannot_be_made_is_one_clear_line(project_folder):
    (project_folder / "dagster_home").write_text("a file")

    ran = run_morph("up", cwd=project_folder)

    assert ran.returncode == 1
    assert "set DAGSTER_HOME to a folder of your own" in ran.stderr
    assert ran.stderr.count(os.linesep) == 1
