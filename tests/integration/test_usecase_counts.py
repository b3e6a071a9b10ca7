"""What the platform says of itself: metrics, the library as rows, and what sensors follow."""

from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from morph_assets.observability.exporter import serve_metrics
from morph_assets.registry.events import EventCursor, latest_cursor
from morph_assets.usecases.find_commits import find_commits


def scrape(platform):
    server, thread = serve_metrics(platform.counts, port=0, address="127.0.0.1")
    try:
        with urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_scrape_reads_the_registry_and_the_tiers(made_platform):
    made_platform.published()
    made_platform.judged("squeeze_excite", verdict="fail")

    metrics = scrape(made_platform.platform)

    assert metrics["morph_scrape_ok",] == 1
    assert metrics["morph_kernels", "PUBLISHED"] == 1
    assert metrics["morph_kernels", "REJECTED"] == 1
    assert metrics["morph_builds_total", "built"] == 2
    assert metrics["morph_build_cpu_seconds_total",] > 38
    assert metrics["morph_cache_entries", "store"] == 2
    assert metrics["morph_tier_up", "redis"] == 1
    assert metrics["morph_indexes_behind",] == 0
    assert metrics["morph_event_seq",] > 0


def test_a_scrape_without_the_registry_says_only_that(made_platform):
    nowhere = dict.fromkeys(made_platform.config.endpoints.database_urls, "postgresql://nobody@127.0.0.1:9/morph")
    with made_platform.other(database_urls=nowhere) as platform:
        metrics = scrape(platform)

    assert metrics == {("morph_scrape_ok",): 0.0}


def test_the_library_is_one_row_a_kernel_of_plain_values(made_platform):
    made_platform.published()
    made_platform.compiled("squeeze_excite")

    rows = {row["name"]: row for row in made_platform.platform.library_rows()}

    assert set(rows) == {"ffn_gelu", "squeeze_excite"}
    assert rows["ffn_gelu"]["state"] == "PUBLISHED"
    assert rows["ffn_gelu"]["speed_ratio"] == 1.8
    assert rows["ffn_gelu"]["build_cpu_s"] == 19.2
    assert rows["squeeze_excite"]["speed_ratio"] is None


def test_arrivals_are_the_names_in_use_and_commits_begin_at_the_head(made_platform):
    made_platform.compiled("ffn_gelu")
    platform = made_platform.platform

    assert platform.arrivals() == ["ffn_gelu"]
    assert platform.active_runs() == []
    found = platform.commits_after(None)
    assert (found.checkpoints, found.cursor) == ((), latest_cursor(platform.connections.registry("platform")))


def test_a_cursor_of_an_earlier_timeline_misses_nothing(made_platform):
    made_platform.compiled("ffn_gelu")
    head = latest_cursor(made_platform.platform.connections.registry("platform"))

    found = find_commits(made_platform.platform.connections, EventCursor(head.timeline - 1, head.seq + 1000))

    assert found.cursor == head
