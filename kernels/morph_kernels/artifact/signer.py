"""The signer process: holds one role's key, signs that role's documents from standard input, and nothing else."""

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import BinaryIO

from morph_kernels.artifact.document import MalformedError, parse_document
from morph_kernels.artifact.signer_wire import HEAD, MAX_MESSAGE_BYTES, REFUSED, SIGNED, parse_head, reply
from morph_kernels.artifact.signing import KeyFileError, KeySigner, SigningRefusedError, load_signer

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_ARGUMENTS = 3


def main() -> int:
    """Serve the key named by the first argument until the parent, named by the second, is gone."""
    if len(sys.argv) != _ARGUMENTS:
        return 2
    _bind_to_parent(int(sys.argv[2]))
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    try:
        signer = load_signer(Path(sys.argv[1]))
    except KeyFileError as error:
        _send(sink, REFUSED, str(error).encode())
        return 1
    _send(sink, SIGNED, b"")
    return serve(signer, source, sink)


def serve(signer: KeySigner, source: BinaryIO, sink: BinaryIO) -> int:
    """Answer requests until the source ends; return the exit status."""
    while True:
        head = source.read(HEAD.size)
        if len(head) < HEAD.size:
            return 0
        try:
            length = parse_head(head)
        except ValueError:
            # What follows cannot be told apart from the next request any more.
            _send(sink, REFUSED, b"message too large")
            return 1
        data = source.read(length)
        if len(data) < length:
            return 1
        try:
            document = parse_document(data, what="document to sign", max_bytes=MAX_MESSAGE_BYTES)
            _send(sink, SIGNED, signer.sign(document))
        except (MalformedError, SigningRefusedError) as error:
            _send(sink, REFUSED, str(error).encode())


def _bind_to_parent(parent: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # No core dump and no ptrace by the same user: the key stays in this memory.
    libc.prctl(_PR_SET_DUMPABLE, 0)
    if os.getppid() != parent:
        # It died before the line above could take effect.
        sys.exit(1)


def _send(sink: BinaryIO, status: int, body: bytes) -> None:
    sink.write(reply(status, body))
    sink.flush()


if __name__ == "__main__":
    sys.exit(main())
