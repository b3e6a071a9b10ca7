"""`make check` refuses a migration that would lock a working platform or break its clients."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SQUAWK = Path(sys.executable).with_name("squawk")


def lint(*patterns, cwd=ROOT):
    """Run squawk with the project's rules."""
    return subprocess.run(
        [SQUAWK, "--config", ROOT / ".squawk.toml", "--reporter", "gcc", *patterns],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_versions_that_are_not_out_are_clean():
    (pattern,) = [
        line.split("'")[1] for line in (ROOT / "Makefile").read_text("utf-8").splitlines() if "$(BIN)/squawk" in line
    ]
    done = lint(pattern)
    assert done.returncode == 0, done.stdout
    assert len(list((ROOT / "morph_assets/registry/migrations/sql/v0003").glob("*.sql"))) >= 3


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("ALTER TABLE kernel RENAME COLUMN isa TO arch;", "renaming-column"),
        ("ALTER TABLE kernel ALTER COLUMN size_bytes TYPE numeric;", "changing-column-type"),
        ("ALTER TABLE kernel DROP COLUMN pipeline;", "ban-drop-column"),
        ("ALTER TABLE kernel ADD COLUMN note text NOT NULL;", "adding-required-field"),
        ("ALTER TABLE kernel ADD CONSTRAINT small CHECK (size_bytes < 10);", "constraint-missing-not-valid"),
    ],
)
def test_what_breaks_or_locks_is_refused(tmp_path, statement, rule):
    (tmp_path / "v0004").mkdir()
    (tmp_path / "v0004" / "10_change.sql").write_text(statement + "\n")
    done = lint("v0004/*.sql", cwd=tmp_path)
    assert done.returncode == 1
    assert rule in done.stdout
