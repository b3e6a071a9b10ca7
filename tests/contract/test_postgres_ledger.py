import pytest

from morph_kernels.checkpoint import PostgresLedger
from morph_kernels.checkpoint.ledger import LedgerUnavailableError, RunHeldError
from tests.contract.checkpoint_ledger import CheckpointLedgerContract, uuid4
from tests.contract.ledger_history import LedgerHistoryContract


class TestPostgresLedger(CheckpointLedgerContract, LedgerHistoryContract):
    @pytest.fixture
    def ledger(self, tenant):
        return PostgresLedger(tenant.url("trainer"))

    def test_a_living_holder_is_not_taken_over(self, ledger, run):
        ledger.open_run(run, holder=uuid4(), ttl_s=60)
        with pytest.raises(RunHeldError, match="another live writer"):
            ledger.open_run(run, holder=uuid4(), ttl_s=60)

    def test_a_server_that_does_not_answer_is_said_so(self, tmp_path):
        nowhere = PostgresLedger(f"postgresql://nobody@/morph?host={tmp_path}")
        with pytest.raises(LedgerUnavailableError, match="did not answer"):
            nowhere.find("run", "main", 1)
