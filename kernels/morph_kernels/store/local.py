"""Objects in a folder, with the fsync that obstore leaves out."""

from pathlib import Path

from morph_kernels.durable_file import flush
from morph_kernels.identity import ObjectKey
from morph_kernels.store.adapter import ObstoreStore
from morph_kernels.store.protocol import StoreUnavailableError


class LocalFolderStore(ObstoreStore):
    """Objects as files; an acknowledged put survives the loss of power.

    obstore 0.12 writes a staged file and links it into place, so nothing torn is ever visible, but it calls fsync on
    neither (strace shows none). This adapter therefore flushes the file and then every folder from the file's up to the
    store's before a put returns, also when it returns False: the winner of the race may not have come so far.
    After a crash between link and fsync an unacknowledged object can be visible and empty; readers compare digests.
    """

    def __init__(self, folder: Path) -> None:
        from obstore.store import LocalStore

        super().__init__(LocalStore(folder, mkdir=True), label=folder.as_uri())
        self._folder = folder
        # Folders whose own entry is known to be on disk; only ever grows, and forgetting it costs an fsync.
        self._durable = {folder.parent}

    def put_if_absent(self, key: ObjectKey, data: bytes | memoryview) -> bool:
        """Store the bytes unless the key exists; return, once they are on disk, whether this call stored them."""
        stored = super().put_if_absent(key, data)
        path = self._folder / key
        if not path.is_file():
            raise StoreUnavailableError(key, "a folder or nothing stands where the object was stored")
        try:
            self._flush(path)
        except OSError as error:
            raise StoreUnavailableError(key, f"not flushed to disk: {error.strerror}") from error
        return stored

    def _flush(self, path: Path) -> None:
        flush(path)
        folder = path.parent
        flush(folder)
        while folder not in self._durable:
            flush(folder.parent)
            self._durable.add(folder)
            folder = folder.parent
