"""The commands that hold things in place and take them away, as people use them, against real servers."""

import json

import psycopg
import pytest

from tests.support.command_line import run_morph

pytestmark = pytest.mark.slow


@pytest.fixture
def morph(made_platform, tmp_path):
    environment = made_platform.environment()

    def run(*arguments, status=0, **variables):
        ran = run_morph(*arguments, cwd=tmp_path, **environment, **variables)
        assert ran.returncode == status, ran.stderr
        return json.loads(ran.stdout) if "--json" in arguments else ran.stdout

    return run


def test_an_alias_is_traced_frozen_and_unfrozen(morph, made_platform):
    made_platform.published()

    (move,) = morph("blueprint", "history", "ffn_gelu", "--json")
    assert (move["alias"], move["version"], move["rolled_back"]) == ("production", 1, False)
    assert morph("blueprint", "history", "ffn_gelu", "--at", move["moved_at"][:10], "--json", status=1) == []
    assert morph("blueprint", "history", "ffn_gelu", "--at", "2100-01-01T14:02", "--json") == [move]
    assert morph("blueprint", "freeze", "ffn_gelu", "--reason", "release week", "--json")["changed"] is True
    assert "as before" in morph("blueprint", "freeze", "ffn_gelu", "--reason", "release week")
    assert morph("blueprint", "unfreeze", "ffn_gelu", "--reason", "over", "--json")["frozen"] is False


def test_a_kernel_is_pinned_and_unpinned(morph, made_platform):
    _, published = made_platform.published()

    pinned = morph("kernel", "pin", "ffn_gelu", "--reason", "paper", "--until", "2100-01-01", "--json")
    assert pinned == {"digest": published.digest, "pinned": True}
    (held,) = made_platform.platform.list_pins()
    assert (held.subject, held.until_at.isoformat()) == (f"kernel/{published.digest}", "2100-01-01T00:00:00+00:00")
    assert "pinned no more" in morph("kernel", "unpin", "ffn_gelu", "--reason", "out")
    assert "was not pinned" in morph("kernel", "unpin", "ffn_gelu", "--reason", "out")


def test_quotas_are_listed_and_lowered_by_the_tenant_and_raised_by_the_operator(morph, made_platform, tenant):
    made_platform.compiled()

    used = {quota["resource"]: quota["used"] for quota in morph("quota", "list", "--json")}
    assert (used["kernels"], used["builds_per_day"], used["blueprints"]) == (1, 1, 1)
    assert morph("quota", "set", "kernels", "7", "--reason", "budget", "--json")["hard_limit"] == 7
    assert "7 before, 6 from now on" in morph("quota", "set", "kernels", "6", "--reason", "budget")
    more = ("kernels", "8", "--reason", "more", "--json")
    assert morph("quota", "set", *more, status=1)["error"]["type"] == "AccessRefusedError"
    refused = morph("quota", "raise", *more, status=1, MORPH_OPERATOR_DATABASE_URL=tenant.url("admin"))
    assert refused["error"]["type"] == "AccessRefusedError"
    raised = morph("quota", "raise", *more, MORPH_OPERATOR_DATABASE_URL=tenant.admin_url)
    assert (raised["before"], raised["hard_limit"]) == (6, 8)
    (told, *_) = morph("audit", "export", "--types", "quota.changed", "--json")[::-1]
    assert (told["actor"], told["facts"]["reason"]) == ("morph_bootstrap", "more")


def test_a_policy_takes_a_kernel_and_the_next_round_removes_it_with_a_proof(morph, made_platform):
    _, kernel = made_platform.judged()

    assert morph("kernel", "curate", "--json")["kernels"][0]["because"] == "no policy takes it"
    policy = morph("policy", "set", "idle", "--unused-days", "0", "--grace-days", "0", "--json")
    assert (policy["kind"], policy["parameters"], policy["grace_s"]) == ("unused", {"days": 0}, 0)
    planned = morph("kernel", "curate", "--dry-run", "--json")
    assert [(k["decision"], k["policy"]) for k in planned["kernels"]] == [("retired", "idle")]
    assert planned["frees_bytes"] > 0
    assert made_platform.platform.find_kernel(kernel.digest).state == "VALIDATED"
    assert morph("kernel", "curate", "--json")["frees_bytes"] == planned["frees_bytes"]
    (waiting,) = morph("kernel", "curate", "--dry-run", "--json")["kernels"]
    assert (waiting["decision"], waiting["because"]) == ("purged", "unused for 0 days")
    assert "1 removed" in morph("kernel", "curate")
    assert made_platform.platform.find_kernel(kernel.digest).state == "PURGED"
    assert not (made_platform.objects / kernel.bundle_key).exists()


def test_a_retired_kernel_is_restored(morph, made_platform):
    _, published = made_platform.published("ffn_gelu")

    failed = morph("kernel", "retire", "ffn_gelu", "--reason", "x", "--json", status=1)
    assert "the last published kernel behind ffn_gelu@production" in failed["error"]["message"]
    _, kernel = made_platform.judged("squeeze_excite")
    assert (
        morph("kernel", "retire", kernel.digest, "--reason", "x", "--grace-days", "1", "--json")["state"] == "RETIRED"
    )
    assert morph("kernel", "restore", kernel.digest, "--reason", "y", "--json")["state"] == "VALIDATED"
    assert published.digest != kernel.digest


def test_a_policy_needs_one_kind(morph):
    morph("policy", "set", "both", "--unused-days", "1", "--slower-percent", "1", status=2)
    assert morph("policy", "list", "--json") == []


def test_a_speculative_kernel_is_rejected_then_approved_and_published(morph, made_platform, tenant):
    _, kernel = made_platform.judged()
    with psycopg.connect(tenant.admin_url) as superuser:
        superuser.execute("SET LOCAL session_replication_role = replica")
        superuser.execute("UPDATE morph.kernel SET speculative = true WHERE digest = %s", (kernel.digest,))

    failed = morph("kernel", "publish", "ffn_gelu", "--json", status=1)
    assert "no curator has approved it" in failed["error"]["message"]
    assert morph("kernel", "reject", "ffn_gelu", "--reason", "too bold", "--json")["approved"] is False
    assert "too bold" in morph("kernel", "publish", "ffn_gelu", "--json", status=1)["error"]["message"]
    assert "may be published" in morph("kernel", "approve", "ffn_gelu", "--reason", "ran a week")
    assert morph("kernel", "publish", "ffn_gelu", "--json")["digest"] == kernel.digest


def test_usage_is_summed_for_whom_it_is_asked(morph, made_platform):
    kernel, published = made_platform.published()
    morph("cache", "warm", "ffn_gelu")

    whole = {(row["key"], row["kind"]): row["quantity"] for row in morph("usage", "--json")}
    assert whole[made_platform.config.tenant, "build_cpu_s"] == 19.2
    by_kernel = {(row["key"], row["kind"]): row["quantity"] for row in morph("usage", "--by", "kernel", "--json")}
    assert by_kernel[published.digest, "bytes_served"] > 0
    assert kernel.blueprint.digest in morph("usage", "--by", "blueprint")
    assert morph("usage", "--since", "2100-01-01", "--json") == []


NONSENSE = (
    (("policy", "set", "a b", "--unused-days", "1"), 1, "policy 'a b' is not allowed"),
    (("policy", "set", "idle", "--unused-days", "100000"), 2, "--unused-days"),
    (("policy", "set", "idle", "--unused-days", "1", "--grace-days", "99999999999"), 2, "--grace-days"),
    (("policy", "set", "idle", "--oldest-torch", "2..1"), 2, "is no version"),
    (("quota", "set", "kernels", "9" * 30, "--reason", "x"), 2, "hard_limit"),
    (("kernel", "retire", "x", "--reason", "x", "--grace-days", "99999999999"), 2, "--grace-days"),
    (("kernel", "list", "--state", "NOPE"), 2, "PUBLISHED"),
    (("kernel", "search", "--state", "NOPE"), 2, "PUBLISHED"),
    (("audit", "export", "--types", "kernel.nope"), 1, "known are alias."),
    (("audit", "logins", "--log", "/"), 1, "no server's log at /"),
    (("kernel", "export", "/proc/1/none/library.jsonl"), 1, "No such file"),
    (("kernel", "export", "library.jsonl", "--bundles", "/proc/1/none/x"), 1, "No such file"),
    (("gc", "dagster", "--keep-days", "99999999999"), 2, "--keep-days"),
)


def test_what_makes_no_sense_is_refused_in_words_and_leaves_nothing(made_platform, tmp_path):
    for arguments, status, said in NONSENSE:
        ran = run_morph(*arguments, cwd=tmp_path, **made_platform.environment())
        assert (arguments, ran.returncode) == (arguments, status)
        assert said in ran.stderr
        assert "Traceback" not in ran.stderr
    assert list(tmp_path.iterdir()) == []
