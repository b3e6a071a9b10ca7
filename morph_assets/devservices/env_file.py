"""Keeps our block in a project's `.env` and leaves every other byte of the file alone."""

from collections.abc import Mapping
from pathlib import Path

from morph_assets.devservices.errors import ServicesError
from morph_kernels.durable_file import replace_file

ENV_FILE_NAME = ".env"
_BEGIN = b"# >>> morph: written by `morph up`, changes are lost >>>"
_END = b"# <<< morph <<<"


class EnvFileError(ServicesError):
    """The file's markers do not come in one pair, so nobody can say which lines are ours."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} holds one of the two `morph` marker lines without the other: delete it and try again")


def write_env_block(path: Path, variables: Mapping[str, str]) -> None:
    """Put the variables into our block of the file, made if missing; the file becomes 0600, it holds a password.

    Raises:
        EnvFileError: the markers of our block are damaged; the file is unchanged.
    """
    path = path.resolve()  # a linked file is rewritten where it stands
    before, after = _around_block(path)
    if before and not before.endswith(b"\n"):
        before += b"\n"
    lines = [_BEGIN, *(f"{name}={_quoted(value)}".encode() for name, value in variables.items()), _END, b""]
    _replace_if_changed(path, before + b"\n".join(lines) + after)


def remove_env_block(path: Path) -> None:
    """Take our block out of the file again; a file that held nothing else goes with it."""
    path = path.resolve()
    if not path.is_file():
        return
    before, after = _around_block(path)
    if before + after:
        _replace_if_changed(path, before + after)
    else:
        path.unlink()


def _around_block(path: Path) -> tuple[bytes, bytes]:
    content = path.read_bytes() if path.exists() else b""
    counts = content.count(_BEGIN), content.count(_END)
    if counts == (0, 0):
        return content, b""
    before, _, rest = content.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if counts != (1, 1) or not end:
        raise EnvFileError(path)
    return before, after.removeprefix(b"\n")


def _replace_if_changed(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content or path.stat().st_mode & 0o077:
        replace_file(path, content)


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
