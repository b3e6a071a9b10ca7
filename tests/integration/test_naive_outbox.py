"""Why the log is a chain: the poller that everybody writes first loses what commits out of order, and ours does not."""

import threading

import psycopg
import pytest

from morph_assets.registry.events import events_after, latest_seq

WRITERS, EACH = 8, 12


@pytest.fixture
def naive_table(registry_database):
    """An outbox numbered by a sequence, which gives its numbers out before anything commits."""
    with psycopg.connect(registry_database, autocommit=True) as superuser:
        superuser.execute("CREATE TABLE naive (pos bigserial PRIMARY KEY)")
        yield registry_database
        superuser.execute("DROP TABLE naive")


def poll_while(write, read):
    """Have eight write at once while one polls for what is behind the last number seen; return what it saw."""
    done, seen = threading.Event(), []

    def poll():
        while True:
            last_round = done.is_set()
            page = read(seen[-1] if seen else 0)
            seen.extend(page)
            if last_round and not page:
                return

    threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    reader = threading.Thread(target=poll)
    for thread in (reader, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    reader.join()
    return seen


def test_a_poller_behind_a_sequence_loses_what_commits_late(naive_table):
    def write(_number):
        with psycopg.connect(naive_table) as connection:
            for _ in range(EACH):
                connection.execute("INSERT INTO naive DEFAULT VALUES")
                connection.execute("SELECT pg_sleep(random() * 0.02)")
                connection.commit()

    def read(last):
        with psycopg.connect(naive_table) as connection:
            found = connection.execute("SELECT pos FROM naive WHERE pos > %s ORDER BY pos", (last,)).fetchall()
        return [pos for (pos,) in found]

    seen = poll_while(write, read)

    assert len(seen) < WRITERS * EACH


def test_a_poller_behind_the_chain_loses_nothing(tenant):
    url, auditor = tenant.url("trainer"), tenant.registry("auditor")
    before = latest_seq(auditor)

    def write(number):
        with psycopg.connect(url) as connection:
            connection.execute("SET lock_timeout = '30s'")
            connection.execute("SET statement_timeout = '30s'")
            for place in range(EACH):
                run = f"run-{number}-{place}"
                connection.execute("SELECT morph.open_run(%s, gen_random_uuid(), 60)", (run,))
                connection.execute("SELECT pg_sleep(random() * 0.02)")
                connection.commit()

    seen = poll_while(write, lambda last: [event.seq for event in events_after(auditor, last, limit=7)])

    assert seen == list(range(1, before + WRITERS * EACH + 1))
