import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from morph_kernels.artifact.envelope import parse_envelope, signature_is_valid
from morph_kernels.artifact.signer_process import SignerError, SignerProcess
from morph_kernels.artifact.signer_wire import MAX_MESSAGE_BYTES, REFUSED, frame
from morph_kernels.artifact.trust import Role, key_path
from morph_kernels.canonical import canonical_bytes
from morph_kernels.identity import BlobDigest
from tests.support.artifacts import make_manifest
from tests.support.signing import make_provenance, make_summary

MANIFEST = make_manifest()
BUILT = make_provenance(MANIFEST)
PASSED = make_summary(MANIFEST, BlobDigest("a" * 64))
INDEX = {"_type": "urn:morph-assets:index:v1"}
TRUST = {"_type": "urn:morph-assets:trust:v1"}


@pytest.fixture
def start(signers):
    started = []

    def run(role):
        process = SignerProcess(key_path(signers.folder, role)).start()
        started.append(process)
        return process

    yield run
    for process in started:
        process.stop()


def is_gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until_gone(pid):
    deadline = time.monotonic() + 10
    while not is_gone(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_signer_signs_as_its_key_would_here(signers, start):
    envelope = start(Role.COMPILER).sign(BUILT)
    assert envelope == signers.by_role[Role.COMPILER].sign(BUILT)
    signed = parse_envelope(envelope, what="x", max_bytes=10**6)
    assert signature_is_valid(signed, public_hex=signers.by_role[Role.COMPILER].public_hex)


@pytest.mark.parametrize(
    ("role", "refused", "accepted"),
    [
        (Role.COMPILER, [PASSED, INDEX, TRUST, {}], BUILT),
        (Role.EVALUATOR, [BUILT, INDEX, TRUST], PASSED),
        (
            Role.PUBLISHER,
            [BUILT, PASSED, TRUST, BUILT | {"predicateType": INDEX["_type"]}, {"_type": BUILT["predicateType"]}],
            INDEX,
        ),
    ],
)
def test_a_signer_refuses_what_is_not_its_role_s_and_goes_on(start, role, refused, accepted):
    signer = start(role)
    for document in refused:
        with pytest.raises(SignerError) as caught:
            signer.sign(document)
        assert caught.value.refused
    assert signer.sign(accepted)


def test_a_document_that_is_too_large_never_reaches_the_signer(start):
    with pytest.raises(SignerError, match="too large"):
        start(Role.PUBLISHER).sign(INDEX | {"blueprint": "x" * MAX_MESSAGE_BYTES})


def test_several_threads_take_turns(start):
    signer = start(Role.PUBLISHER)
    documents = [INDEX | {"number": number} for number in range(40)]
    envelopes = [b""] * len(documents)

    def sign(first):
        for number in range(first, len(documents), 4):
            envelopes[number] = signer.sign(documents[number])

    threads = [threading.Thread(target=sign, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    payloads = [parse_envelope(envelope, what="x", max_bytes=10**6).payload for envelope in envelopes]
    assert payloads == [canonical_bytes(document) for document in documents]


def test_a_killed_signer_is_replaced_by_another(start):
    signer = start(Role.PUBLISHER)
    envelope, pid = signer.sign(INDEX), signer._process.pid
    os.kill(pid, signal.SIGKILL)
    wait_until_gone(pid)
    assert signer.sign(INDEX) == envelope
    assert signer._process.pid != pid


def test_a_signer_that_dies_while_it_is_asked_is_an_error_and_then_replaced(start):
    signer = start(Role.PUBLISHER)
    pid = signer._process.pid
    os.kill(pid, signal.SIGSTOP)
    killer = threading.Timer(0.2, os.kill, (pid, signal.SIGKILL))
    killer.start()
    with pytest.raises(SignerError) as caught:
        signer.sign(INDEX)
    killer.join()
    assert not caught.value.refused
    assert signer.sign(INDEX)


@pytest.mark.parametrize("size", [10, 5_000_000], ids=["a short request", "one longer than the pipe"])
def test_a_signer_that_hangs_is_an_error_within_the_time_out(signers, size):
    signer = SignerProcess(key_path(signers.folder, Role.PUBLISHER), timeout_s=5)
    with signer:
        signer._timeout_s, pid = 0.3, signer._process.pid
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(SignerError, match="TimeoutError"):
            signer.sign(INDEX | {"blueprint": "x" * size})
        assert time.monotonic() - began < 5
        assert is_gone(pid)


def test_a_stopped_signer_leaves_no_process(start):
    signer = start(Role.PUBLISHER)
    pid = signer._process.pid
    signer.stop()
    assert is_gone(pid)


@pytest.mark.parametrize("name", ["compiler.pem", "nobody.pem"])
def test_a_signer_without_a_usable_key_says_why(tmp_path, name):
    with pytest.raises(SignerError, match=r"cannot read|does not name a role"):
        SignerProcess(tmp_path / name).start()


def test_a_signer_inherits_no_environment_and_cannot_be_dumped(start, monkeypatch):
    monkeypatch.setenv("MORPH_DATABASE_URL", "postgresql://secret")
    pid = start(Role.PUBLISHER)._process.pid
    names = {entry.partition(b"=")[0] for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if entry}
    assert names <= {b"PYTHONPATH", b"PYTHONDONTWRITEBYTECODE", b"LC_CTYPE"}


def test_a_signer_dies_with_its_parent_although_its_pipe_is_held_open(signers):
    script = (
        "import sys, os, pathlib, subprocess; from morph_kernels.artifact.signer_process import SignerProcess\n"
        "s = SignerProcess(pathlib.Path(sys.argv[1])).start(); pipe = s._process.stdin.fileno()\n"
        "holder = subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()'],"
        " pass_fds=[pipe])\n"
        "print(s._process.pid, holder.pid, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(key_path(signers.folder, Role.PUBLISHER))],
        env={"PYTHONPATH": "kernels"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    signer_pid, holder_pid = map(int, parent.stdout.readline().split())
    assert not is_gone(signer_pid)
    parent.kill()
    parent.wait()
    wait_until_gone(signer_pid)
    assert not is_gone(holder_pid)
    parent.stdin.close()
    parent.stdout.close()
    wait_until_gone(holder_pid)


@pytest.mark.parametrize(
    "request_bytes",
    [frame(b"junk"), frame(b'{"_type" : "urn:morph-assets:index:v1"}'), b"\xff\xff\xff\xff", b"\0\0\0\0"],
)
def test_a_request_that_is_no_document_is_refused(start, request_bytes):
    process = start(Role.PUBLISHER)._process
    process.stdin.write(request_bytes)
    process.stdin.flush()
    assert process.stdout.read1(100)[4] == REFUSED


def test_the_signer_never_imports_torch(start):
    pid = start(Role.PUBLISHER)._process.pid
    assert "torch" not in Path(f"/proc/{pid}/maps").read_text()
