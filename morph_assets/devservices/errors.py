"""What can go wrong with the embedded servers, each as one line that says what to do."""

from pathlib import Path
from typing import ClassVar

from morph_kernels.errors import MorphError


class ServicesError(MorphError):
    """The embedded servers cannot do what was asked."""


class UnsupportedPlatformError(ServicesError):
    """The wheels carry servers for Linux x86-64 with glibc only."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"the embedded servers need Linux x86-64 with glibc, this is {found}: use a container (see Dockerfile) or "
            "WSL2, or set MORPH_DATABASE_URL, MORPH_REDIS_URL and MORPH_STORE_URL"
        )


class HomeUnusableError(ServicesError):
    """The home folder cannot be used as one."""

    def __init__(self, home: Path, problem: str, advice: str = "set MORPH_HOME to a folder of your own") -> None:
        super().__init__(f"{home} {problem}: {advice}")


class PortTakenError(ServicesError):
    """Somebody else listens on the port."""

    def __init__(self, port: int, option: str) -> None:
        super().__init__(f"port {port} on 127.0.0.1 is taken: choose another with {option}")


class ServerFailedError(ServicesError):
    """A server did not become ready or keeps ending."""

    def __init__(self, name: str, problem: str, log: Path) -> None:
        super().__init__(f"{name} {problem}: see {log}")


class ServerGoneError(ServerFailedError):
    """The server went away because its supervisor did: start both again."""

    retryable: ClassVar[bool] = True

    def __init__(self, log: Path) -> None:
        super().__init__("postgres", "went away with its supervisor", log)


class ServicesBusyError(ServicesError):
    """Another `morph up` or `morph down` did not finish in time."""

    retryable: ClassVar[bool] = True
