"""Where everything stands below `$MORPH_HOME`; the only place that joins those paths."""

from dataclasses import dataclass
from pathlib import Path

from morph_kernels.settings import ENDPOINTS_NAME


@dataclass(frozen=True)
class HomeLayout:
    """The names inside one home folder."""

    home: Path

    @property
    def marker(self) -> Path:
        """Says that the folder is ours: only a marked folder is ever purged."""
        return self.home / "home.json"

    @property
    def endpoints_file(self) -> Path:
        """Where the servers are; read by every client."""
        return self.home / ENDPOINTS_NAME

    @property
    def secrets_file(self) -> Path:
        """Generated passwords, 0600."""
        return self.home / "secrets.json"

    @property
    def supervisor_lock(self) -> Path:
        """Held by the supervisor as long as it lives."""
        return self.home / "supervisor.lock"

    @property
    def state_file(self) -> Path:
        """What the supervisor runs at the moment; rewritten at every change."""
        return self.home / "supervisor.json"

    @property
    def run(self) -> Path:
        """The servers' sockets."""
        return self.home / "run"

    @property
    def redis_socket(self) -> Path:
        """Valkey's socket."""
        return self.run / "valkey.sock"

    @property
    def valkey_config(self) -> Path:
        """Valkey's configuration."""
        return self.run / "valkey.conf"

    @property
    def valkey_users(self) -> Path:
        """Valkey's users with what each may do, and hashes of their passwords."""
        return self.run / "valkey.acl"

    @property
    def postgres_data(self) -> Path:
        """PostgreSQL's data."""
        return self.home / "postgres"

    @property
    def postgres_draft(self) -> Path:
        """A data folder that initdb has not finished; renamed into place when it has."""
        return self.home / "postgres.draft"

    @property
    def valkey_data(self) -> Path:
        """Valkey's working folder."""
        return self.home / "valkey"

    @property
    def logs(self) -> Path:
        """One file a process."""
        return self.home / "logs"

    @property
    def objects(self) -> Path:
        """The object store's folder."""
        return self.home / "objects"

    @property
    def trust_dir(self) -> Path:
        """The trust file and the private keys; a folder of its own because its makers lock and guard it themselves."""
        return self.home / "trust"

    @property
    def trust_file(self) -> Path:
        """The local trust policy."""
        return self.trust_dir / "trust.json"

    @property
    def schema_stamp(self) -> Path:
        """Which schema and tenants the database has; saves a warm start the migration."""
        return self.home / "schema.json"

    @property
    def backups(self) -> Path:
        """Where `morph upgrade` keeps what it may have to go back to."""
        return self.home / "backups"

    def log_file(self, name: str) -> Path:
        """Return the log of one process."""
        return self.logs / f"{name}.log"

    def postgres_socket(self, port: int) -> Path:
        """Return the socket that PostgreSQL names after its port."""
        return self.run / f".s.PGSQL.{port}"
