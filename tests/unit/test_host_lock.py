"""A lock between the processes of a host."""

import threading

from morph_kernels.cache.deadline import Deadline
from morph_kernels.cache.host_lock import host_lock


def test_a_lock_has_one_holder_and_goes_with_it(tmp_path):
    path = tmp_path / "lock"
    inside, most, lock = [0], [0], threading.Lock()

    def hold():
        for _ in range(20):
            with host_lock(path, Deadline(30)) as mine:
                assert mine
                with lock:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                with lock:
                    inside[0] -= 1

    threads = [threading.Thread(target=hold) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert not path.exists()


def test_a_lock_that_another_holds_is_not_given_in_time(tmp_path):
    with host_lock(tmp_path / "lock", Deadline(1)) as first, host_lock(tmp_path / "lock", Deadline(0.02)) as second:
        assert (first, second) == (True, False)
