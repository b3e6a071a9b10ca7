"""Signs in another process, so that whoever asks for a signature never holds the key."""

import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, ClassVar, Self

from morph_kernels.artifact.signer_wire import (
    MAX_MESSAGE_BYTES,
    REFUSED,
    SIGNED,
    frame,
    parse_head,
    split_reply,
)
from morph_kernels.canonical import canonical_bytes
from morph_kernels.errors import MorphError

_ANSWER_S = 10.0
_STOP_S = 2.0


class SignerError(MorphError):
    """The signer process refused a document, died or did not answer. `refused` is True only for the first."""

    retryable: ClassVar[bool] = False

    def __init__(self, problem: str, *, refused: bool = False) -> None:
        super().__init__(problem)
        self.refused = refused


class SignerProcess:
    """One role's signer: `python -m morph_kernels.artifact.signer KEY`, spoken to over two pipes.

    The child signs only its role's kinds of documents, inherits no environment, writes nothing, and ends when this
    object is stopped, its pipe closes, or the *thread* that started it ends: so start it from a thread that stays.
    Nothing waits longer than `timeout_s` for it. A key that replaces the one in the file signs from the next call on.
    Calls from several threads take turns. After an error the process is stopped and the next call starts another.
    """

    def __init__(self, key_path: Path, *, timeout_s: float = _ANSWER_S) -> None:
        self._timeout_s = timeout_s
        self.role = key_path.stem
        self._key_path = key_path.absolute()
        self._process: subprocess.Popen[bytes] | None = None
        self._served: tuple[int, int] | None = None
        self._turn = threading.Lock()

    def start(self) -> Self:
        """Start the child and return once it holds its key; does nothing if it runs.

        Raises:
            SignerError: it could not read its key; the message says why.
        """
        with self._turn:
            self._start()
        return self

    def sign(self, document: Mapping[str, Any]) -> bytes:
        """Return the canonical bytes of the document's signed envelope.

        Raises:
            SignerError: the document is too large or not of the signer's role, or the process failed.
        """
        request = canonical_bytes(document)
        if len(request) > MAX_MESSAGE_BYTES:
            raise SignerError(f"a document of {len(request)} bytes is too large to sign", refused=True)
        with self._turn:
            process = self._start()
            try:
                return self._exchange(process, frame(request))
            except (OSError, EOFError, TimeoutError, ValueError) as error:
                self._stop()
                raise SignerError(f"the {self.role} signer failed: {type(error).__name__}") from error

    def stop(self) -> None:
        """End the child; a later `sign` starts another."""
        with self._turn:
            self._stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> subprocess.Popen[bytes]:
        # Before the child reads it: a key that comes in between is seen as another by the next call.
        stamp = _key_stamp(self._key_path)
        if self._process is not None and self._process.poll() is None and stamp in {None, self._served}:
            return self._process
        self._stop()
        self._served = stamp
        # -P: the current folder is never on the path, or whoever writes there would run with the key.
        command = [sys.executable, "-P", "-m", "morph_kernels.artifact.signer", str(self._key_path), str(os.getpid())]
        environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1"}
        process = subprocess.Popen(
            command, env=environment, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        self._process = process
        try:
            self._receive(process)
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            self._stop()
            raise SignerError(f"the {self.role} signer did not start: {type(error).__name__}") from error
        except SignerError:
            self._stop()
            raise
        return process

    def _exchange(self, process: subprocess.Popen[bytes], request: bytes) -> bytes:
        if process.stdin is None:
            raise EOFError
        _write_all(process.stdin, request, time.monotonic() + self._timeout_s)
        return self._receive(process)

    def _receive(self, process: subprocess.Popen[bytes]) -> bytes:
        source = process.stdout
        if source is None:
            raise EOFError
        deadline = time.monotonic() + self._timeout_s
        length = parse_head(_read_exactly(source, 4, deadline))
        status, body = split_reply(_read_exactly(source, length, deadline))
        if status == REFUSED:
            raise SignerError(body.decode("utf-8", errors="replace"), refused=True)
        if status != SIGNED:
            raise ValueError(status)
        return body

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                _close(pipe)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _key_stamp(path: Path) -> tuple[int, int] | None:
    """Return what tells a key file from the one that replaces it, None where none lies there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _read_exactly(source: IO[bytes], count: int, deadline: float) -> bytes:
    parts: list[bytes] = []
    while count:
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not select.select([source], [], [], left_s)[0]:
            raise TimeoutError
        # The raw descriptor: a buffered read would wait for more than has come.
        part = os.read(source.fileno(), count)
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _write_all(sink: IO[bytes], data: bytes, deadline: float) -> None:
    descriptor, left = sink.fileno(), memoryview(data)
    # A blocking write would wait for ever on a child that is stopped and reads nothing.
    os.set_blocking(descriptor, False)
    while left:
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not select.select([], [descriptor], [], left_s)[1]:
            raise TimeoutError
        left = left[os.write(descriptor, left) :]


def _close(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except BrokenPipeError:
        # What was left in the buffer is for a child that is gone; the descriptor is closed all the same.
        return
