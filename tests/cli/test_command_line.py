"""The frame of the command line: fast, documented, one line an error."""

import ast
import json
import re
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from morph_assets.cli.commands import COMMANDS
from morph_assets.cli.lazy_group import load_command
from morph_assets.cli.output import print_error, print_json, print_listing
from tests.support.command_line import clean_environment, run_morph

HEAVY = {
    "torch",
    "dagster",
    "pandas",
    "great_expectations",
    "sqlalchemy",
    "alembic",
    "psycopg",
    "redis",
    "rich",
    "numpy",
}


def _commands(command, path=()):
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from _commands(child, (*path, name))


ALL_COMMANDS = [
    pytest.param(command, id=" ".join(path))
    for entry in COMMANDS
    for path, command in _commands(load_command(entry.name), (entry.name,))
]


@pytest.mark.parametrize("command", ALL_COMMANDS)
def test_every_command_says_what_it_does_and_shows_an_example(command):
    assert command.help
    assert "Example" in command.help or hasattr(command, "commands")


def test_the_root_help_lists_every_command(tmp_path):
    shown = run_morph("--help", cwd=tmp_path).stdout

    assert all(re.search(rf"^  {entry.name}\b", shown, re.MULTILINE) for entry in COMMANDS)


def test_help_imports_nothing_heavy(tmp_path):
    program = (
        "import sys\nsys.argv = ['morph', '--help']\nfrom morph_assets.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(sorted({name.split('.')[0] for name in sys.modules}))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )

    loaded = set(ast.literal_eval(ran.stdout.splitlines()[-1]))
    assert "typer" in loaded
    assert loaded & HEAVY == set()


@pytest.mark.timed
def test_help_takes_less_than_400_ms(tmp_path):
    def measure():
        began = time.perf_counter()
        run_morph("--help", cwd=tmp_path)
        return time.perf_counter() - began

    # The best of a few: other work on the machine can only make it slower.
    assert min(measure() for _ in range(5)) < 0.4


def test_an_error_is_one_line_and_exit_status_1(tmp_path):
    ran = run_morph("env", cwd=tmp_path)

    assert ran.returncode == 1
    assert ran.stdout == ""
    assert ran.stderr.startswith("morph: ")
    assert len(ran.stderr.splitlines()) == 1
    assert "run `morph up` first" in ran.stderr


def test_debug_shows_the_traceback(tmp_path):
    ran = run_morph("--debug", "env", cwd=tmp_path)

    assert ran.returncode == 1
    assert "Traceback" in ran.stderr


def test_an_unknown_command_is_refused_by_name(tmp_path):
    ran = run_morph("updown", cwd=tmp_path)

    assert ran.returncode == 2
    assert "updown" in ran.stderr


def test_moments_are_printed_in_utc_with_their_offset(capsys):
    print_json({"at": datetime(2026, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=2)))})

    assert json.loads(capsys.readouterr().out) == {"at": "2026-01-02T01:04:00+00:00"}


def test_a_moment_without_a_zone_is_never_printed():
    with pytest.raises(TypeError, match="no time zone"):
        print_json({"at": datetime(2026, 1, 2)})  # noqa: DTZ001  # that is what is refused


def test_a_listing_is_the_same_records_as_table_and_json(capsys):
    records = [{"name": "ffn_gelu", "created_at": datetime(2026, 1, 2, tzinfo=UTC), "release": None}]

    print_listing(records, as_json=True)
    as_json = json.loads(capsys.readouterr().out)
    print_listing(records, as_json=False, columns=("name", "release"))
    table = capsys.readouterr().out

    assert as_json == [{"name": "ffn_gelu", "created_at": "2026-01-02T00:00:00+00:00", "release": None}]
    assert re.search(r"ffn_gelu\s+-", table)


def test_what_looks_like_markup_is_printed_as_it_is(capsys):
    print_listing([{"name": "[bold]x[/bold]"}], as_json=False)

    assert "[bold]x[/bold]" in capsys.readouterr().out


def test_an_error_of_several_lines_becomes_one(capsys):
    print_error("first\n  second")

    assert capsys.readouterr().err == "morph: first second\n"
