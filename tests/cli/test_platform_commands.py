"""The commands over the platform, as people and scripts use them, against real servers."""

import json
import shlex
import signal
import subprocess
from urllib.request import urlopen

import pytest

from morph_kernels.blueprint import library
from tests.support.command_line import clean_environment, morph_command, run_morph

pytestmark = pytest.mark.slow


@pytest.fixture
def environment(made_platform):
    return made_platform.environment()


@pytest.fixture
def morph(environment, tmp_path):
    def run(*arguments, status=0, **variables):
        ran = run_morph(*arguments, cwd=tmp_path, **environment, **variables)
        assert ran.returncode == status, ran.stderr
        return json.loads(ran.stdout) if "--json" in arguments else ran.stdout

    return run


def test_the_library_is_submitted_once_and_shown(morph):
    first = morph("blueprint", "submit", "--library", "--json")
    again = morph("blueprint", "submit", "--library", "--json")

    assert len(first) >= 8
    assert not any(release["created"] for release in again)
    assert {"ffn_gelu", "transformer_block"} <= {release["name"] for release in morph("blueprint", "list", "--json")}
    shown = morph("blueprint", "show", "ffn_gelu", "--json")
    assert shown["releases"][0]["created_at"].endswith("+00:00")
    assert "batch: 1 to 1024" in morph("blueprint", "show", "ffn_gelu")


def test_a_bad_file_is_one_line_that_names_the_place(morph, tmp_path):
    (tmp_path / "bad.yaml").write_text("name: bad\nnodes: [}\n")

    ran = run_morph("blueprint", "submit", "bad.yaml", cwd=tmp_path)

    assert ran.returncode == 1
    failed = morph("blueprint", "submit", str(tmp_path / "bad.yaml"), "--json", status=1)
    assert failed["error"]["type"] == "BlueprintMalformedError"
    assert "bad.yaml" in failed["error"]["message"]


def test_a_rejected_kernel_is_refused_as_a_document_and_as_a_line(morph, made_platform):
    _, kernel = made_platform.judged("squeeze_excite", verdict="fail")

    failed = morph("kernel", "publish", "squeeze_excite", "--json", status=1)

    assert failed["error"]["type"] == "NotPublishableError"
    assert failed["error"]["retryable"] is False
    assert "REJECTED" in failed["error"]["message"]
    assert morph("kernel", "publish", "squeeze_excite", status=1) == ""
    assert morph("kernel", "list", "--state", "REJECTED", "--json")[0]["digest"] == kernel.digest


def test_a_kernel_is_shown_verified_explained_and_taken_back(morph, made_platform):
    _, published = made_platform.published("ffn_gelu")
    digest = published.digest

    assert morph("kernel", "show", "ffn_gelu@production", "--json")["state"] == "PUBLISHED"
    found = morph("kernel", "search", "--tag", "mlp", "--prefer", "fast", "--prefer", "tiny", "--json")
    assert [hit["digest"] for hit in found["hits"]] == [digest]
    assert found["hits"][0]["why"].startswith("1 of 2 preferred tags (fast), 52 us")
    assert morph("kernel", "search", "--without", "mlp", "--json")["hits"] == []
    assert digest[:12] in morph("kernel", "search", "--blueprint", "ffn_gelu")
    assert morph("kernel", "verify", digest, "--json")["verified"] is True
    assert morph("kernel", "why", "ffn_gelu@production", "--json")["digest"] == digest
    assert "was compiled before" in morph("kernel", "compile", "ffn_gelu")
    assert morph("kernel", "promote", "ffn_gelu@1", "staging", "--json")["alias"] == "staging"
    assert "is release" in morph("kernel", "publish", "ffn_gelu")
    failed = morph("kernel", "rollback", "ffn_gelu", "--json", status=1)
    assert failed["error"]["type"] == "NothingToRollBackError"
    assert morph("cache", "warm", "ffn_gelu", "--json")["warmed"] == [digest]
    assert {tier["tier"] for tier in morph("cache", "stats", "--json")} == {"disk", "redis", "store"}
    assert morph("cache", "evict", "redis", "--budget-bytes", "0", "--dry-run", "--json")["dropped"] == [digest]
    assert morph("cache", "scrub", "--json")["damaged"] == []
    assert morph("cache", "requests", "--build", "--json") == []
    assert morph("kernel", "quarantine", digest, "--reason", "odd", "--json")["state"] == "QUARANTINED"
    assert morph("kernel", "revoke", digest, "--reason", "bad", "--json")["state"] == "REVOKED"
    assert morph("kernel", "verify", "nobody", "--json", status=1)["error"]["type"] == "NotRegisteredError"


def test_an_export_that_fails_leaves_the_one_before_whole(morph, made_platform, tmp_path):
    _, kernel = made_platform.judged()
    assert morph("kernel", "export", "library.jsonl", "--bundles", "library", "--json")["lines"] == 3
    before = (tmp_path / "library.jsonl").read_bytes()
    assert morph("kernel", "import", "library.jsonl", "--bundles", "library", "--json")["present"] == 1
    made_platform.platform.connections.store.delete(kernel.bundle_key)

    failed = morph("kernel", "export", "library.jsonl", "--json", status=1)
    assert failed["error"]["type"] == "ObjectNotFoundError"
    assert (tmp_path / "library.jsonl").read_bytes() == before


def test_a_lineage_is_shown_as_it_is_and_as_it_was_and_drawn(morph, made_platform, tmp_path):
    _, published = made_platform.published("ffn_gelu")
    kernel = published.digest

    now = morph("lineage", "show", kernel, "--svg", "picture.svg", "--json")
    before = morph("lineage", "show", kernel, "--as-of", "1", "--json")
    impact = morph("lineage", "impact", kernel, "--json")

    assert now["node"] == f"kernel/{kernel}"
    assert {edge["relation"] for edge in now["upward"]} == {"compiled_from"}
    assert before["upward"] == []
    assert impact[0]["consequence"] == "runs eager"
    assert (tmp_path / "picture.svg").read_text().startswith("<svg")
    assert "compiled_from" in morph("lineage", "show", kernel, "--as-of", "2100-01-01")
    morph("lineage", "show", kernel, "--as-of", "yesterday", status=2)


def test_the_log_is_verified_and_exported(morph, made_platform):
    made_platform.published()
    verified = morph("audit", "verify", "--json")
    events = [json.loads(line) for line in morph("audit", "export").splitlines()]

    assert verified["holds"] is True
    assert len(events) == verified["events"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert morph("audit", "export", "--after", str(len(events) - 1), "--json")[0]["seq"] == len(events)


def test_the_log_is_exported_in_part_and_refusals_apart(morph, made_platform):
    made_platform.published()
    made_platform.platform.connections.registry("compiler").refusals.tell("security.access_refused", {})

    chosen = morph("audit", "export", "--types", "kernel.published", "--types", "kernel.compiled", "--json")
    refusals = morph("audit", "export", "--security", "--json")

    assert [event["type"] for event in chosen] == ["kernel.compiled", "kernel.published"]
    assert [event["type"] for event in refusals] == ["security.access_refused"]
    assert morph("audit", "export", "--since", "2999-01-01", "--json") == []
    assert morph("audit", "export", "--until", "2000-01-01", "--json") == []
    assert len(morph("audit", "export", "--since", "2000-01-01T00:00+02:00", "--until", "2999-01-01", "--json")) > len(
        chosen
    )


def test_failed_logins_are_read_from_a_log_that_is_named(morph, tmp_path):
    failed = morph("audit", "logins", "--log", str(tmp_path / "none.log"), "--json", status=1)
    assert failed["error"]["type"] == "NoServerLogError"
    (tmp_path / "postgres.log").write_text("nothing of interest\n")
    assert morph("audit", "logins", "--log", str(tmp_path / "postgres.log"), "--json") == []


def test_the_log_is_archived_anchored_and_held_against_a_remembered_head(morph, made_platform):
    made_platform.platform.submit_blueprint(library()[0])

    archived = morph("audit", "archive", "--json")
    anchored = morph("audit", "anchor", "--json")
    verified = morph("audit", "verify", "--expect-head", anchored["head"], "--json")

    assert (archived["events"], anchored["number"], anchored["created"]) == (0, 1, True)
    assert (verified["holds"], verified["anchors"], verified["unanchored_events"]) == (True, 1, 0)
    assert verified["head"] == anchored["head"]
    assert "1 anchors confirm it" in morph("audit", "verify", "--since-anchor")
    assert "covers everything already" in morph("audit", "anchor")
    wrong = f"{verified['events']}:{'0' * 64}"
    assert "the expected head" in morph("audit", "verify", "--expect-head", wrong, status=1)
    failed = morph("audit", "verify", "--expect-head", "nonsense", "--json", status=1)
    assert failed["error"]["type"] == "UnknownHeadError"


def test_the_believed_keys_are_listed_without_a_secret(morph):
    keys = morph("trust", "list", "--json")

    assert {key["role"] for key in keys} == {"compiler", "evaluator", "publisher", "auditor", "trainer"}
    assert not any(key["revoked"] for key in keys)


def test_the_doctor_tries_the_cache_and_tells_what_keeps_it_from_working(morph, made_platform):
    made_platform.published()
    works = {finding["check"]: finding for finding in morph("doctor", "--cache", "--json")}
    assert "then from disk" in works["kernel ffn_gelu"]["detail"]
    failed = morph("doctor", "--cache", "nobody", "--json", status=1)
    assert [finding["check"] for finding in failed if not finding["ok"]] == ["kernel nobody"]
    assert "what to do: " in morph("kernel", "why", "ffn_gelu", MORPH_CACHE_DIR="/proc/nowhere")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_metrics_are_served_until_a_signal_even_one_that_the_shell_ignores(environment, tmp_path, number):
    command = shlex.join(morph_command("metrics", "serve", "--port", "0"))
    with subprocess.Popen(
        ["/bin/sh", "-c", f"trap '' TERM INT; exec {command}"],
        cwd=tmp_path,
        env=clean_environment(**environment),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            url = process.stdout.readline().split()[-1]
            with urlopen(url, timeout=20) as answer:  # noqa: S310 - our own loopback server
                text = answer.read().decode()
            process.send_signal(number)
            ended = process.wait(timeout=30)
        finally:
            process.kill()

    assert "morph_scrape_ok 1.0" in text
    assert ended == 0


def test_without_a_platform_every_command_says_what_to_run(tmp_path):
    ran = run_morph("blueprint", "list", cwd=tmp_path)
    as_document = run_morph("blueprint", "list", "--json", cwd=tmp_path)

    assert (ran.returncode, as_document.returncode) == (1, 1)
    assert "run `morph up`" in ran.stderr
    assert json.loads(as_document.stdout)["error"]["retryable"] is True
