import stat

import pytest

from morph_kernels.checkpoint.ledger import LedgerUnavailableError
from morph_kernels.checkpoint.sqlite_ledger import SqliteLedger
from tests.contract.checkpoint_ledger import CheckpointLedgerContract, request


class TestSqliteLedger(CheckpointLedgerContract):
    @pytest.fixture
    def ledger(self, tmp_path):
        return SqliteLedger(tmp_path / "ledger.db")

    def test_another_process_of_the_same_file_sees_the_commit(self, ledger, lease, run, tmp_path):
        asked = request(lease)
        ledger.commit(asked)
        (found,) = SqliteLedger(tmp_path / "ledger.db").find(run, "main", 1)
        assert found.checkpoint == asked.checkpoint

    def test_the_file_is_private(self, ledger, lease, tmp_path):
        assert lease.epoch == 1
        assert stat.S_IMODE((tmp_path / "ledger.db").stat().st_mode) == 0o600
        assert ledger.live_blobs([]) == {}

    def test_a_folder_in_place_of_the_file_is_said_so(self, tmp_path):
        (tmp_path / "other.db").mkdir()
        with pytest.raises(LedgerUnavailableError, match=r"other\.db"):
            SqliteLedger(tmp_path / "other.db")
