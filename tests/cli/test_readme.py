"""The README's commands are run as they stand there, and what it says they print is what they print."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import clean_environment, morph_command, run_morph
from tests.support.compiled_project import open_project

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MAKE = shutil.which("make") or "make"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    """Return the README's code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def output_of(name):
    """Return the block of output that the README shows under a name."""
    return re.search(rf"<!-- output: {name} -->\n```text\n(.*?)```", README, flags=re.DOTALL)[1]


def columns(table):
    """Return the first line of a table that has words in it."""
    return next(line.split() for line in table.splitlines() if line.strip())


def test_the_make_targets_that_it_names_are_there():
    listed = subprocess.run([MAKE, "-C", ROOT], capture_output=True, text=True, check=True).stdout
    for target in set(re.findall(r"\bmake (\w+)\b", README)) - {"targets"}:
        assert f"make {target} " in listed, target


def test_the_way_without_make_installs_what_the_makefile_installs():
    plan = subprocess.run(
        [MAKE, "-C", ROOT, "--dry-run", "--always-make", "install"], capture_output=True, text=True, check=True
    ).stdout
    made = {tuple(shlex.split(line)) for line in plan.splitlines() if "pip install" in line}
    quiet = {"--quiet", "--disable-pip-version-check"}
    written = {
        tuple(shlex.split(line)) for block in blocks("sh") for line in block.splitlines() if "pip install" in line
    }
    assert written == {tuple(word for word in command if word not in quiet) for command in made}


@pytest.mark.parametrize("command", sorted(set(re.findall(r"`morph ([a-z]+(?: [a-z]+)?)", README))))
def test_every_morph_command_that_it_names_has_help_with_an_example(command, tmp_path):
    words = [word for word in command.split() if word not in {"my", "demo"} or command == "demo"]
    done = run_morph(*words, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Example" in done.stdout or "Commands" in done.stdout


def test_the_listing_it_shows_has_the_columns_that_are_printed(project_folder):
    assert run_morph("up", cwd=project_folder).returncode == 0
    assert run_morph("blueprint", "submit", "--library", cwd=project_folder).returncode == 0
    printed = run_morph("blueprint", "list", cwd=project_folder)
    assert columns(printed.stdout) == columns(output_of("blueprints"))
    shown = {line.split()[0] for line in output_of("blueprints").splitlines()[2:] if line.strip()}
    with open_project(project_folder) as platform:
        assert shown == {release.name for release in platform.list_blueprints()}


def test_the_ten_lines_train_with_nothing_but_the_servers(project_folder):
    assert run_morph("up", cwd=project_folder).returncode == 0
    (code,) = [block for block in blocks("python") if "KernelLoader()" in block]
    assert len(code.strip().splitlines()) <= 12
    prelude = "import torch\nbatches = [(torch.randn(8, 16), torch.arange(8) % 10)] * 3\n"
    refused = _python(prelude + code, project_folder)
    # Nothing was published yet: the one error that a bare ref may end in, with what to do.
    assert "BlueprintUnreachableError" in refused.stderr
    design = 'from morph_kernels.blueprint import library\nDESIGN = {b.name: b for b in library()}["ffn_gelu"]\n'
    trained = _python(design + prelude + code.replace('"ffn_gelu@production"', "DESIGN"), project_folder)
    assert trained.returncode == 0, trained.stderr
    assert trained.stdout.startswith("eager no_index")


def test_the_demo_output_names_the_whole_library():
    shown = output_of("demo")
    assert {path.stem for path in (ROOT / "kernels/morph_kernels/blueprint/library").glob("*.yaml")} <= set(
        shown.split()
    )
    assert "bit for bit the uninterrupted run" in shown


def _python(code, folder):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_morph_itself_is_the_command_that_is_installed():
    assert 'morph = "morph_assets.cli:main"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert morph_command("--help")[1:3] == ["-m", "morph_assets.cli"]
