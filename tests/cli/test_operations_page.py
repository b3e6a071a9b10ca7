"""What `docs/operations.md` tells people to type is there, and prints what the page shows."""

import re
from pathlib import Path

import pytest

from tests.support.command_line import run_morph

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
NAMED = re.findall(r"(?:^|`|=\S+ )morph ([a-z]+(?: [a-z]+)?)(?=[ `\n])", PAGE, re.MULTILINE)


@pytest.mark.parametrize("command", sorted(set(NAMED)))
def test_every_command_that_it_names_has_help_with_an_example(command, tmp_path):
    done = run_morph(*command.split(), "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Example: " in done.stdout


def test_a_whole_life_prints_what_it_shows(project_folder):
    assert run_morph("up", cwd=project_folder).returncode == 0
    saved = run_morph("backup", str(project_folder / "monday"), "--with-keys", cwd=project_folder)
    upgraded = run_morph("upgrade", cwd=project_folder)
    collected = run_morph("gc", "dagster", "--keep-days", "14", cwd=project_folder)
    (project_folder / "second").mkdir()
    home = project_folder / "second" / ".morph"
    restored, refused = (
        run_morph("restore", str(project_folder / "monday"), "--with-keys", cwd=home.parent, home=home)
        for _ in range(2)
    )
    for ran in (saved, upgraded, collected, restored):
        assert ran.returncode == 0, ran.stderr
        assert shapes(ran.stdout) <= shapes(PAGE), ran.stdout
    assert refused.returncode == 1
    assert shapes(refused.stderr) & shapes(PAGE)


def shapes(text):
    """The lines without what differs from one platform to the next: numbers, folders."""
    plain = re.sub(r"/\S+", "/", text)
    lines = (" ".join(line.split()) for line in plain.splitlines() if line.strip(" ─"))
    return {re.sub(r"[0-9.:-]*[0-9]", "0", line) for line in lines}
