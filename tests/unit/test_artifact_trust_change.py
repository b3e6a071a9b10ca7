import shutil
import signal
import subprocess
import sys
from datetime import timedelta

import pytest

from morph_kernels.artifact.envelope import parse_envelope
from morph_kernels.artifact.signer_process import SignerProcess
from morph_kernels.artifact.signing import KeyFileError, generate_key, load_signer
from morph_kernels.artifact.trust import Role, TrustError, create_trust, key_path, load_trust, revoke_key
from morph_kernels.artifact.trust_change import add_key, rotate_key
from tests.support.command_line import clean_environment
from tests.support.signing import NOW

WEEK = timedelta(days=7)
LATER = NOW + timedelta(days=100)


@pytest.fixture
def folder(tmp_path):
    create_trust(tmp_path / "trust", now=NOW)
    return tmp_path / "trust"


def signing(folder, role):
    return load_signer(key_path(folder, role)).keyid


def file_of(folder):
    return load_trust(folder / "trust.json")


@pytest.fixture
def public(tmp_path):
    """The public half of a key that another host made."""
    (tmp_path / "elsewhere").mkdir()
    return generate_key(tmp_path / "elsewhere" / "trainer.pem")


def test_a_rotated_key_signs_at_once_and_the_one_before_holds_for_a_week(folder):
    before = signing(folder, Role.PUBLISHER)
    rotated = rotate_key(folder, Role.PUBLISHER, now=LATER)
    policy = file_of(folder)
    assert rotated.policy == policy
    assert (rotated.old_keyid, rotated.old_until) == (before, LATER + WEEK)
    assert signing(folder, Role.PUBLISHER) == rotated.keyid != before
    assert {key.keyid for key in policy.keys_of(Role.PUBLISHER)} == {before, rotated.keyid}
    assert policy.keys[before].not_after == LATER + WEEK
    assert policy.keys[rotated.keyid].not_before < LATER < LATER + 400 * WEEK < policy.keys[rotated.keyid].not_after
    assert policy.version == 2


def test_what_cannot_be_signed_again_is_vouched_for_until_the_old_keys_own_end(folder):
    before = signing(folder, Role.COMPILER)
    end = file_of(folder).keys[before].not_after
    assert rotate_key(folder, Role.COMPILER, now=LATER).old_until == end
    again = signing(folder, Role.COMPILER)
    assert rotate_key(folder, Role.COMPILER, overlap=WEEK, now=LATER).old_until == LATER + WEEK
    assert file_of(folder).keys[before].not_after == end
    assert file_of(folder).keys[again].not_after == LATER + WEEK


def test_an_overlap_never_makes_a_key_live_longer(folder):
    end = file_of(folder).keys[signing(folder, Role.PUBLISHER)].not_after
    assert rotate_key(folder, Role.PUBLISHER, overlap=timedelta(days=10_000), now=LATER).old_until == end


def test_a_development_key_is_followed_by_one(tmp_path):
    create_trust(tmp_path, development=True, now=NOW)
    rotated = rotate_key(tmp_path, Role.COMPILER, now=LATER)
    assert rotated.policy.keys[rotated.keyid].development


def test_the_next_key_is_private_and_the_one_before_is_gone(folder):
    rotate_key(folder, Role.PUBLISHER, now=LATER)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) == len(Role) + 1
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_a_signer_that_runs_signs_by_the_new_key_from_the_next_call_on(folder):
    document = {"_type": "urn:morph-assets:index:v1"}
    with SignerProcess(key_path(folder, Role.PUBLISHER)) as signer:
        old = parse_envelope(signer.sign(document), what="x", max_bytes=10**6).keyid
        rotated = rotate_key(folder, Role.PUBLISHER, now=LATER)
        new = parse_envelope(signer.sign(document), what="x", max_bytes=10**6).keyid
    assert (old, new) == (rotated.old_keyid, rotated.keyid)


def test_a_key_of_another_host_is_trusted_in_its_role_beside_ours(folder, public):
    policy = add_key(folder, Role.TRAINER, public, valid_for=WEEK, now=LATER)
    ours = signing(folder, Role.TRAINER)
    (added,) = (key for key in policy.keys_of(Role.TRAINER) if key.keyid != ours)
    assert (added.public_hex, added.not_after, added.development) == (public, LATER + WEEK, False)
    assert add_key(folder, Role.TRAINER, public, now=LATER) == policy == file_of(folder)
    rotated = rotate_key(folder, Role.TRAINER, overlap=WEEK, now=LATER)
    assert rotated.policy.keys[added.keyid] == added


@pytest.mark.parametrize(
    "text", ["", "ab" * 31, "AB" * 32, "zz" * 32, "ab" * 32 + "\n", "00" * 32, "01" + "00" * 31, "ec" + "ff" * 31]
)
def test_what_is_no_public_key_is_not_added(folder, text):
    before = file_of(folder)
    with pytest.raises(TrustError, match="64 hexadecimal"):
        add_key(folder, Role.TRAINER, text)
    assert file_of(folder) == before


def test_a_key_is_not_added_in_a_second_role_nor_again_after_it_was_revoked(folder, public):
    compiler = load_signer(key_path(folder, Role.COMPILER))
    with pytest.raises(TrustError, match="listed as the compiler's"):
        add_key(folder, Role.EVALUATOR, compiler.public_hex)
    policy = add_key(folder, Role.TRAINER, public)
    (keyid,) = set(policy.keys) - set(create_keyids(folder))
    revoke_key(folder, keyid)
    with pytest.raises(TrustError, match="was revoked"):
        add_key(folder, Role.TRAINER, public)


def create_keyids(folder):
    return {load_signer(path).keyid for path in (folder / "keys").glob("*.pem")}


@pytest.mark.parametrize("change", [lambda f, p: add_key(f, Role.ROOT, p), lambda f, _p: rotate_key(f, Role.ROOT)])
def test_the_root_is_neither_listed_nor_rotated(folder, public, change):
    before = file_of(folder)
    with pytest.raises(TrustError, match="pin"):
        change(folder, public)
    assert file_of(folder) == before


@pytest.mark.parametrize(
    "change", [lambda f, p: add_key(f, Role.TRAINER, p), lambda f, _p: rotate_key(f, Role.PUBLISHER)]
)
def test_without_the_roots_key_nothing_changes(folder, public, change):
    before, signer = file_of(folder), signing(folder, Role.PUBLISHER)
    key_path(folder, Role.ROOT).unlink()
    with pytest.raises(KeyFileError, match=r"root\.pem"):
        change(folder, public)
    assert (file_of(folder), signing(folder, Role.PUBLISHER)) == (before, signer)
    assert not (folder / "keys" / "next").exists()


# Killed at each call into the kernel that makes, names or flushes something: before it and after it.
KILLED = """
import os, pathlib, signal, sys
folder, role, left = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
from morph_kernels.artifact.roles import Role
from morph_kernels.artifact.trust_change import rotate_key
import cryptography.hazmat.primitives.serialization
def watch(event, arguments):
    global left
    if event in {"open", "os.rename", "os.link", "os.remove", "os.mkdir"}:
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
rotate_key(folder, Role(role))
"""


@pytest.mark.slow
def test_a_rotation_killed_anywhere_leaves_one_version_whole_and_the_next_ends_it(folder, tmp_path):
    old = signing(folder, Role.PUBLISHER)
    seen = set()
    for step in range(200):
        copy = tmp_path / f"copy{step}"
        shutil.copytree(folder, copy)
        command = [sys.executable, "-c", KILLED, str(copy), "publisher", str(step)]
        ran = subprocess.run(command, env=clean_environment(), capture_output=True, check=False)
        policy, signer = file_of(copy), signing(copy, Role.PUBLISHER)
        # Whatever signs is listed, and the old key never ends before the new one is.
        assert signer in {key.keyid for key in policy.keys_of(Role.PUBLISHER)}
        seen.add((policy.version, signer == old))
        if ran.returncode == 0:
            break
        assert ran.returncode == -signal.SIGKILL, ran.stderr.decode()
        finished = signer != old
        rotated = rotate_key(copy, Role.PUBLISHER)
        assert signing(copy, Role.PUBLISHER) == rotated.keyid
        # One that was begun is ended, not begun once more.
        assert rotated.policy.version == (3 if finished else 2)
    else:
        pytest.fail("it never ended")
    assert seen == {(1, True), (2, True), (2, False)}


def test_a_next_key_that_was_revoked_before_it_signed_never_does(folder):
    rotated = rotate_key(folder, Role.PUBLISHER, now=LATER)
    path = key_path(folder, Role.PUBLISHER)
    # As a rotation leaves it that was killed before its last step.
    path.rename(folder / "keys" / "next" / "publisher.pem")
    revoke_key(folder, rotated.keyid)
    again = rotate_key(folder, Role.PUBLISHER, now=LATER)
    assert again.keyid == signing(folder, Role.PUBLISHER) != rotated.keyid
