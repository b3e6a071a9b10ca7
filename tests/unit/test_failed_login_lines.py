"""Lines of a server's log, in which whoever connects can write."""

from io import StringIO

from morph_assets.usecases.plan_failed_logins import iter_lines

FAILED = '2026-01-02 03:04:05.678 UTC [1] FATAL:  password authentication failed for user "morph_default_trainer"\n'


def test_the_rest_of_a_long_line_is_no_line_of_its_own():
    log = StringIO("x" * 4096 + FAILED + FAILED)

    assert list(iter_lines(log)) == ["x" * 4096, FAILED]


def test_a_last_line_without_an_end_is_a_line():
    assert list(iter_lines(StringIO(FAILED + "half"))) == [FAILED, "half"]
