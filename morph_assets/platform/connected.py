"""A platform's connections, opened when first used."""

from types import TracebackType
from typing import Self

from morph_assets.config import PlatformConfig
from morph_assets.connections import Connections


class Connected:
    """One tenant's connections, and how they are opened and closed."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections

    @classmethod
    def connect(cls, config: PlatformConfig | None = None) -> Self:
        """Return the platform that the environment names, or the one of the nearest `.morph` folder.

        Raises:
            PlatformDownError: there is none: run `morph up`.
            SettingsError: its endpoints file is damaged.
        """
        return cls(Connections.open(config))

    def close(self) -> None:
        """Give every connection back and end the signers."""
        self.connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
