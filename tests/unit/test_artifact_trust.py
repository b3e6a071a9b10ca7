import json
import stat
import subprocess
import sys
from datetime import timedelta

import pytest

from morph_kernels.artifact.signing import KeyFileError, SigningRefusedError, generate_key, load_signer
from morph_kernels.artifact.trust import Role, TrustError, create_trust, key_path, load_trust, revoke_key
from morph_kernels.artifact.trust_policy import encode_trust, parse_trust
from morph_kernels.canonical import canonical_bytes, sha256_hex
from morph_kernels.settings import read_endpoints
from tests.support.signing import NOW
from tests.support.small_order import small_order_encodings


@pytest.fixture
def folder(tmp_path):
    create_trust(tmp_path / "trust", now=NOW)
    return tmp_path / "trust"


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_role_gets_its_own_key_that_is_trusted_in_that_role_only(folder):
    trust = load_trust(folder / "trust.json")
    signers = {role: load_signer(key_path(folder, role)) for role in Role}
    assert len({signer.keyid for signer in signers.values()}) == len(Role)
    assert {key.role: key.keyid for key in trust.keys.values()} == {
        role: signer.keyid for role, signer in signers.items() if role is not Role.ROOT
    }
    assert trust.root_public_hex == signers[Role.ROOT].public_hex
    assert not any(key.development for key in trust.keys.values())


def test_private_keys_are_private(folder):
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.rglob("*")]}
    assert {modes[folder], modes[folder / "keys"]} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
    assert len(contents(folder)) == len(Role) + 1


def test_making_trust_again_changes_nothing(folder):
    before = contents(folder)
    assert create_trust(folder) == load_trust(folder / "trust.json")
    assert contents(folder) == before


def test_a_role_that_came_later_gets_its_key_where_the_root_lies(folder):
    before = load_trust(folder / "trust.json")
    root, trainer = load_signer(key_path(folder, Role.ROOT)), load_signer(key_path(folder, Role.TRAINER))
    document = before.to_document(issued_at=NOW)
    envelope = root.sign(document | {"keys": [key for key in document["keys"] if key["role"] != Role.TRAINER]})
    (folder / "trust.json").write_bytes(encode_trust(envelope, root_public_hex=root.public_hex))
    assert create_trust(folder).version == before.version + 1
    assert create_trust(folder).keys.keys() == before.keys.keys()
    assert trainer.keyid in before.keys
    (folder / "trust.json").write_bytes(encode_trust(envelope, root_public_hex=root.public_hex))
    key_path(folder, Role.ROOT).unlink()
    assert create_trust(folder).keys_of(Role.TRAINER) == ()


def test_several_processes_at_once_agree_on_one_set_of_keys(tmp_path):
    script = (
        "import sys, pathlib; from morph_kernels.artifact.trust import create_trust; "
        "print(create_trust(pathlib.Path(sys.argv[1])).root_public_hex)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "trust")]
    started = [
        subprocess.Popen(command, env={"PYTHONPATH": "kernels"}, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    roots = {process.communicate()[0] for process in started}
    assert [process.returncode for process in started] == [0, 0, 0]
    assert roots == {load_trust(tmp_path / "trust" / "trust.json").root_public_hex + "\n"}


def test_keys_left_by_a_crash_before_the_trust_file_are_used(tmp_path):
    (tmp_path / "keys").mkdir(mode=0o700)
    public_hex = generate_key(tmp_path / "keys" / "compiler.pem")
    trust = create_trust(tmp_path)
    assert [key.public_hex for key in trust.keys_of(Role.COMPILER)] == [public_hex]


def test_development_keys_are_marked_and_only_those_of_the_sandboxed_roles(tmp_path):
    trust = create_trust(tmp_path, development=True)
    assert {key.role for key in trust.keys.values() if key.development} == {Role.COMPILER, Role.EVALUATOR}
    assert load_trust(tmp_path / "trust.json").allow_development is False


@pytest.mark.parametrize("change", [b"", b"{}", b"junk"])
def test_a_corrupt_trust_file_is_an_error_and_is_never_replaced(folder, change):
    (folder / "trust.json").write_bytes(change)
    for call in (lambda: load_trust(folder / "trust.json"), lambda: create_trust(folder)):
        with pytest.raises(TrustError, match=r"trust\.json"):
            call()
    assert (folder / "trust.json").read_bytes() == change


def test_every_changed_byte_of_a_trust_file_is_noticed(folder):
    data = (folder / "trust.json").read_bytes()
    for place in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[place] ^= 1
        with pytest.raises(TrustError):
            parse_trust(bytes(damaged))


def test_a_missing_trust_file_is_a_clear_error(tmp_path):
    with pytest.raises(TrustError, match="No such file"):
        load_trust(tmp_path / "trust.json")


def test_a_file_that_another_root_signed_whole_is_refused_only_by_a_pin(folder, tmp_path):
    ours = load_trust(folder / "trust.json").root_public_hex
    foreign = tmp_path / "foreign"
    create_trust(foreign)
    assert load_trust(foreign / "trust.json").root_public_hex != ours
    with pytest.raises(TrustError, match="pinned"):
        load_trust(foreign / "trust.json", root_pin=ours)
    assert load_trust(folder / "trust.json", root_pin=ours).root_public_hex == ours


def test_the_pin_is_read_from_the_environment_alone(tmp_path):
    assert read_endpoints({"MORPH_TRUST_ROOT": "ab" * 32}, start=tmp_path).trust_root == "ab" * 32
    assert read_endpoints({}, start=tmp_path).trust_root is None


def test_keys_signed_by_another_root_under_our_root_are_refused(folder, tmp_path):
    foreign = tmp_path / "foreign"
    create_trust(foreign)
    document = json.loads((foreign / "trust.json").read_bytes())
    document["root"] = load_trust(folder / "trust.json").root_public_hex
    with pytest.raises(TrustError, match="not signed by its root"):
        parse_trust(canonical_bytes(document))


def test_one_key_in_two_roles_cannot_be_listed(folder):
    root = load_signer(key_path(folder, Role.ROOT))
    document = load_trust(folder / "trust.json").to_document(issued_at=NOW)
    for twin in (document["keys"][0], document["keys"][0] | {"keyid": "f" * 64, "role": "auditor"}):
        envelope = root.sign(document | {"keys": [*document["keys"], twin]})
        with pytest.raises(TrustError):
            parse_trust(encode_trust(envelope, root_public_hex=root.public_hex))


def test_no_key_is_believed_that_anybody_can_sign_for(folder):
    encodings = small_order_encodings()
    assert len(encodings) == 14
    root = load_signer(key_path(folder, Role.ROOT))
    document = load_trust(folder / "trust.json").to_document(issued_at=NOW)
    for public in encodings:
        weak = document["keys"][0] | {"public": public, "keyid": sha256_hex(bytes.fromhex(public))}
        envelope = root.sign(document | {"keys": [*document["keys"], weak]})
        with pytest.raises(TrustError, match="public"):
            parse_trust(encode_trust(envelope, root_public_hex=root.public_hex))
        with pytest.raises(TrustError, match="root"):
            parse_trust(encode_trust(envelope, root_public_hex=public))


def test_a_revoked_key_stays_revoked_in_the_next_version(folder):
    keyid = load_signer(key_path(folder, Role.COMPILER)).keyid
    revoked = revoke_key(folder, keyid, now=NOW + timedelta(days=1))
    assert revoked == load_trust(folder / "trust.json") == revoke_key(folder, keyid)
    assert (revoked.version, revoked.revoked, revoked.keys_of(Role.COMPILER)) == (2, frozenset({keyid}), ())
    assert create_trust(folder) == revoked


def test_only_a_listed_key_can_be_revoked(folder):
    with pytest.raises(TrustError, match="no key"):
        revoke_key(folder, "0" * 64)


def test_a_key_that_others_may_read_is_not_used(folder):
    path = key_path(folder, Role.COMPILER)
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match="0600"):
        load_signer(path)


def test_a_key_behind_a_symbolic_link_is_not_used(folder, tmp_path):
    (tmp_path / "compiler.pem").symlink_to(key_path(folder, Role.COMPILER))
    with pytest.raises(KeyFileError):
        load_signer(tmp_path / "compiler.pem")


def test_what_is_no_key_of_a_role_is_not_used(tmp_path):
    (tmp_path / "compiler.pem").write_bytes(b"junk")
    (tmp_path / "compiler.pem").chmod(0o600)
    for name in ("compiler.pem", "missing.pem", "evaluator.pem"):
        with pytest.raises(KeyFileError):
            load_signer(tmp_path / name)


def test_a_key_is_never_overwritten(folder):
    before = contents(folder)
    with pytest.raises(FileExistsError):
        generate_key(key_path(folder, Role.ROOT))
    assert contents(folder) == before


@pytest.mark.parametrize("role", list(Role))
def test_a_key_signs_only_its_own_role_s_documents(folder, role):
    signer = load_signer(key_path(folder, role))
    with pytest.raises(SigningRefusedError):
        signer.sign({"_type": "urn:morph-assets:anything"})
