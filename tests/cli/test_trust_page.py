"""The commands of `docs/trust.md` are run as they stand there: a platform, and a trainer with a folder of its own."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from morph_kernels.artifact.signing import key_id, load_signer
from morph_kernels.artifact.trust import Role, key_path, load_trust
from tests.support.command_line import clean_environment, run_morph

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")
STEPS = re.findall(r"<!-- on: (platform|trainer) -->\n```sh\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def morph(made_platform, tmp_path):
    environment = made_platform.environment()

    def run(*arguments, status=0):
        ran = run_morph(*arguments, cwd=tmp_path, **environment)
        assert ran.returncode == status, ran.stderr
        return json.loads(ran.stdout) if "--json" in arguments else ran.stdout

    return run


@pytest.mark.parametrize("command", sorted(set(re.findall(r"morph (trust [a-z]+|audit [a-z]+|kernel [a-z]+)", PAGE))))
def test_every_command_that_it_names_has_help_with_an_example(command, tmp_path):
    done = run_morph(*command.split(), "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Example: " in done.stdout


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+)`", PAGE))))
def test_every_test_that_it_names_is_there(name):
    files = (ROOT / "tests" / "faults").glob("test_loader_*.py")
    assert any(f"def {name}(" in path.read_text(encoding="utf-8") for path in files)


@pytest.mark.slow
def test_a_trainer_on_another_host_gets_trust_and_follows_a_rotation(made_platform, tmp_path):
    made_platform.published("ffn_gelu")
    home, endpoints = made_platform.config.folders.home, made_platform.config.endpoints
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, words in (("morph", "-m morph_assets.cli"), ("python", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
        (programs / name).chmod(0o755)
    # One folder stands for both ends of the copy.
    exchange = tmp_path / "exchange"
    exchange.mkdir()
    (exchange / ".morph").symlink_to(home)
    path = f"{programs}:/usr/bin:/bin"
    places = {
        "platform": clean_environment(**made_platform.environment(), PATH=path),
        "trainer": clean_environment(
            PATH=path,
            MORPH_HOME=str(tmp_path / "nothing"),
            MORPH_TENANT=made_platform.config.tenant,
            MORPH_STORE_URL=str(endpoints.store_url),
            MORPH_CACHE_DIR=str(tmp_path / "cache"),
        ),
    }
    exports = dict.fromkeys(places, "")
    said = ""
    for place, commands in STEPS:
        script = f"set -e\n{exports[place]}{commands}"
        ran = subprocess.run(
            ["/bin/sh", "-c", script], cwd=exchange, env=places[place], capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, (commands, ran.stderr)
        exports[place] += "".join(line for line in commands.splitlines(keepends=True) if line.startswith("export "))
        said = ran.stdout
    assert [place for place, _ in STEPS] == ["platform", "trainer", "trainer", "platform", "platform", "trainer"]
    assert said == "store {}\n"
    policy = load_trust(exchange / "trust.json", root_pin=(exchange / "root.hex").read_text().strip())
    assert policy == load_trust(home / "trust" / "trust.json")
    assert policy.version == 3
    made = key_id((exchange / "trainer.hex").read_text().strip())
    assert load_signer(exchange / "trainer.pem").keyid == made
    assert policy.keys[made].role is Role.TRAINER
    assert load_signer(key_path(home / "trust", Role.TRAINER)).keyid != made


@pytest.mark.slow
def test_keys_are_added_rotated_and_revoked_by_command(morph, made_platform):
    made_platform.published()
    before = {key["role"]: key for key in morph("trust", "list", "--json")}
    assert {key["state"] for key in before.values()} == {"valid"}
    assert morph("trust", "root").strip() == morph("trust", "root", "--json")["root"]

    rotated = morph("trust", "rotate", "publisher", "--json")
    assert (rotated["old_keyid"], rotated["renewed"]) == (before["publisher"]["keyid"], ["ffn_gelu"])
    assert "is believed until" in morph("trust", "rotate", "evaluator")
    revoked = morph("trust", "revoke", rotated["keyid"][:12], "--reason", "a drill", "--json")
    assert (revoked["keyid"], revoked["renewed"], revoked["told"]) == (rotated["keyid"], ["ffn_gelu"], True)
    assert "nobody vouches for" in morph("trust", "revoke", before["compiler"]["keyid"], "--reason", "a drill")

    states = {key["keyid"]: key["state"] for key in morph("trust", "list", "--json")}
    assert states[rotated["keyid"]] == states[before["compiler"]["keyid"]] == "revoked"
    assert states[revoked["signs_now"]] == "valid"
    told = morph("audit", "export", "--security", "--types", "security.trust_changed", "--json")
    assert [event["facts"]["facts"]["change"] for event in told] == ["rotated", "rotated", "revoked", "revoked"]


def test_a_change_that_cannot_be_made_is_said_in_a_line_and_as_a_document(morph, made_platform, tmp_path):
    before = (made_platform.config.folders.home / "trust" / "trust.json").read_bytes()
    for command, words in (
        (("add", "trainer", "abc"), "64 hexadecimal"),
        (("rotate", "root"), "pin"),
        (("revoke", "00000000", "--reason", "x"), "0 keys begin"),
    ):
        failed = morph("trust", *command, "--json", status=1)
        assert failed["error"]["type"] == "TrustError"
        assert words in failed["error"]["message"]
        ran = run_morph("trust", *command, cwd=tmp_path, **made_platform.environment())
        assert (ran.returncode, len(ran.stderr.splitlines())) == (1, 1)
    assert (made_platform.config.folders.home / "trust" / "trust.json").read_bytes() == before
