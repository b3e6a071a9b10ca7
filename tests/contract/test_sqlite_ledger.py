import stat

import pytest

from morph_kernels.checkpoint.ledger import LedgerUnavailableError
from morph_kernels.checkpoint.sqlite_ledger import SqliteLedger
from tests.contract.checkpoint_ledger import CheckpointLedgerContract, request
from tests.contract.ledger_history import LedgerHistoryContract
from tests.support.kill_storm import fork_server
from tests.support.ledger_opening import open_together


class TestSqliteLedger(CheckpointLedgerContract, LedgerHistoryContract):
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

    def test_processes_can_open_a_new_ledger_at_the_same_instant(self, tmp_path):
        context, processes, attempts = fork_server(), 4, 25
        at_once, told = context.Barrier(processes), context.Queue()
        started = [
            context.Process(target=open_together, args=(str(tmp_path), attempts, index, at_once, told))
            for index in range(processes)
        ]
        for process in started:
            process.start()
        assert [told.get(timeout=60) for _ in started] == [[1] * attempts] * processes
        for process in started:
            process.join(10)
