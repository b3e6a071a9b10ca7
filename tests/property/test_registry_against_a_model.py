"""The registry beside a model of it: whatever is tried, in whatever order, they agree, and the log tells it all."""

from typing import ClassVar
from uuid import uuid4

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from psycopg.types.json import Jsonb

from morph_assets.registry.aliases import find_alias, move_alias
from morph_assets.registry.audit.chain import verify_chain
from morph_assets.registry.blueprints import list_releases, retire_release
from morph_assets.registry.builds import record_build
from morph_assets.registry.errors import RegistryError
from morph_assets.registry.evaluations import record_report, start_evaluation
from morph_assets.registry.events import events_after
from morph_assets.registry.kernels import (
    list_kernels,
    publish_kernel,
    quarantine_kernel,
    revoke_kernel,
)
from morph_assets.registry.removal import retire_kernel
from morph_assets.registry.replay.check import check_replay
from tests.support.registry import TestTenant, compiled, digest_of, document_of, report_on

NAMES = st.sampled_from(["alpha", "beta"])
TEXTS = st.sampled_from(["one", "two"])
KERNELS = st.sampled_from(["k1", "k2"])
LIVE = {"COMPILED", "VALIDATING", "VALIDATED", "PUBLISHED"}
ALL_STATES = LIVE | {"REJECTED", "QUARANTINED", "REVOKED", "RETIRED"}


class RegistryBesideItsModel(RuleBasedStateMachine):
    """The model keeps the state of each kernel, release and alias, and which kernels checkpoints need."""

    admin_url = ""
    reached: ClassVar[set[str]]

    def __init__(self):
        super().__init__()
        self.tenant = TestTenant(self.admin_url, f"s{uuid4().hex[:12]}")
        self.kernels: dict[tuple[str, str], str] = {}
        self.releases: dict[tuple[str, int], tuple[str, str]] = {}
        self.aliases: dict[str, int] = {}
        self.moves: dict[str, int] = {}
        self.pinned: set[tuple[str, str]] = set()
        self.head = None
        self.holder = uuid4()
        self.trainer = self.tenant.connect("trainer")
        self.lease_epoch = self.trainer.execute("SELECT morph.open_run('run', %s, 600)", (self.holder,)).fetchone()[0]

    def teardown(self):
        differences = check_replay(self.tenant.registry("auditor")).differences
        self.tenant.close()
        assert differences == ()

    def attempt(self, allowed, call):
        """Do it; the registry must agree with the model on whether it may be done."""
        refusal = None
        try:
            call()
        except RegistryError as error:
            refusal = error
        assert (refusal is None) == allowed, refusal

    def digest(self, text, kernel):
        return compiled(document_of(text)[0], kernel).digest

    def published_of(self, text):
        return {key for key, state in self.kernels.items() if key[0] == text and state == "PUBLISHED"}

    @rule(name=NAMES, text=TEXTS)
    def submit(self, name, text):
        known = [version for (n, version), (t, _) in self.releases.items() if (n, t) == (name, text)]
        count = len([1 for n, _ in self.releases if n == name])
        release = self.tenant.submitted(name, text)
        assert (release.created, release.version) == ((False, known[0]) if known else (True, count + 1))
        if not known:
            self.releases[name, count + 1] = (text, "PUBLISHED" if self.published_of(text) else "SUBMITTED")

    @rule(text=TEXTS, kernel=KERNELS)
    def build(self, text, kernel):
        allowed = any(t == text for t, _ in self.releases.values()) and self.kernels.get((text, kernel)) != "RETIRED"
        build = compiled(document_of(text)[0], kernel)
        self.attempt(allowed, lambda: record_build(self.tenant.registry("compiler"), build))
        if allowed:
            self.kernels.setdefault((text, kernel), "COMPILED")

    def advance(self, key, sources, target, call):
        state = self.kernels.get(key)
        allowed = state in sources or state == target
        self.attempt(allowed, lambda: call(self.digest(*key)))
        if allowed:
            self.kernels[key] = target
        return allowed

    @rule(text=TEXTS, kernel=KERNELS)
    def start_evaluation(self, text, kernel):
        evaluator = self.tenant.registry("evaluator")
        self.advance(
            (text, kernel), {"COMPILED", "QUARANTINED"}, "VALIDATING", lambda d: start_evaluation(evaluator, d)
        )

    @rule(text=TEXTS, kernel=KERNELS, verdict=st.sampled_from(["pass", "pass", "fail", "error"]))
    def report(self, text, kernel, verdict):
        state = self.kernels.get((text, kernel))
        attestation = uuid4().bytes if verdict == "pass" else None
        report = report_on(self.digest(text, kernel), verdict, attestation=attestation)
        allowed = state in {"VALIDATING", "VALIDATED", "PUBLISHED"}
        self.attempt(allowed, lambda: record_report(self.tenant.registry("evaluator"), report))
        if state == "VALIDATING":
            verdicts = {"pass": "VALIDATED", "fail": "REJECTED", "error": "COMPILED"}
            self.kernels[text, kernel] = verdicts[verdict]

    @rule(text=TEXTS, kernel=KERNELS)
    def publish(self, text, kernel):
        publisher = self.tenant.registry("publisher")
        if self.advance((text, kernel), {"VALIDATED"}, "PUBLISHED", lambda d: publish_kernel(publisher, d)):
            for release, (t, state) in self.releases.items():
                if (t, state) == (text, "SUBMITTED"):
                    self.releases[release] = (t, "PUBLISHED")

    @rule(name=NAMES, text=TEXTS, kernel=KERNELS, verdict=st.sampled_from(["fail", "pass"]))
    def evaluate(self, name, text, kernel, verdict):
        self.submit(name, text)
        self.build(text, kernel)
        if self.kernels.get((text, kernel)) in {"COMPILED", "QUARANTINED"}:
            self.start_evaluation(text, kernel)
            self.report(text, kernel, verdict)

    @precondition(lambda self: any(state == "PUBLISHED" for _, state in self.releases.values()))
    @rule(data=st.data())
    def point_an_alias_at_a_published_release(self, data):
        published = sorted(key for key, (_, state) in self.releases.items() if state == "PUBLISHED")
        name, version = data.draw(st.sampled_from(published))
        self.move_alias(name, version, stale=False)

    @rule(name=NAMES, text=TEXTS, kernel=KERNELS)
    def put_into_service(self, name, text, kernel):
        """The whole way at once: single steps seldom line up by chance."""
        self.submit(name, text)
        self.build(text, kernel)
        if self.kernels.get((text, kernel)) in {"COMPILED", "QUARANTINED"}:
            self.start_evaluation(text, kernel)
            self.report(text, kernel, "pass")
            self.publish(text, kernel)

    @precondition(lambda self: self.kernels)
    @rule(data=st.data(), order=st.permutations(["publish", "quarantine", "start_evaluation", "retire", "revoke"]))
    def try_everything_on_one_kernel(self, data, order):
        key = data.draw(st.sampled_from(sorted(self.kernels)))
        for attempted in order[:3]:
            getattr(self, attempted)(*key)

    @rule(name=NAMES, versions=st.permutations([1, 2]))
    def move_an_alias_there_and_back(self, name, versions):
        for text in ("one", "two"):
            self.put_into_service(name, text, "k1")
        for version in versions:
            self.move_alias(name, version, stale=False)

    @rule(text=TEXTS, kernel=KERNELS)
    def quarantine(self, text, kernel):
        platform = self.tenant.registry("platform")
        self.advance((text, kernel), LIVE, "QUARANTINED", lambda d: quarantine_kernel(platform, d, reason="x"))

    @rule(text=TEXTS, kernel=KERNELS)
    def revoke(self, text, kernel):
        publisher = self.tenant.registry("publisher")
        sources = LIVE | {"QUARANTINED"}
        self.advance((text, kernel), sources, "REVOKED", lambda d: revoke_kernel(publisher, d, reason="x"))

    @rule(text=TEXTS, kernel=KERNELS)
    def retire(self, text, kernel):
        key, state = (text, kernel), self.kernels.get((text, kernel))
        aliased = any(self.releases[name, version][0] == text for name, version in self.aliases.items())
        last = state == "PUBLISHED" and aliased and self.published_of(text) == {key}
        free = key not in self.pinned and not last
        sources = {"COMPILED", "VALIDATED", "REJECTED", "PUBLISHED", "QUARANTINED", "REVOKED"} if free else set()
        curator = self.tenant.registry("curator")
        self.advance(key, sources, "RETIRED", lambda d: retire_kernel(curator, d, reason="x"))

    @rule(name=NAMES, version=st.integers(1, 2), stale=st.booleans())
    def move_alias(self, name, version, stale):
        row_version = self.moves.get(name)
        expected = (row_version or 0) + 7 if stale else row_version
        published = self.releases.get((name, version), ("", ""))[1] == "PUBLISHED"
        publisher = self.tenant.registry("publisher")
        self.attempt(
            published and not stale,
            lambda: move_alias(publisher, name, "production", version, expected_row_version=expected),
        )
        if published and not stale and self.aliases.get(name) != version:
            self.aliases[name], self.moves[name] = version, (row_version or 0) + 1

    @rule(name=NAMES, version=st.integers(1, 2))
    def retire_release(self, name, version):
        allowed = (name, version) in self.releases and self.aliases.get(name) != version
        curator = self.tenant.registry("curator")
        self.attempt(allowed, lambda: retire_release(curator, name, version, reason="x"))
        if allowed:
            self.releases[name, version] = (self.releases[name, version][0], "RETIRED")

    @precondition(lambda self: self.kernels)
    @rule(data=st.data())
    def commit_checkpoint(self, data):
        key, checkpoint = data.draw(st.sampled_from(sorted(self.kernels))), uuid4()
        self.trainer.execute(
            """SELECT morph.commit_checkpoint(
                   %s, 'run', 'main', %s, %s, %s, 1, 1, '1', 1, %s, 'm', %s, %s::text[], %s)""",
            (
                checkpoint,
                self.head,
                self.holder,
                self.lease_epoch,
                digest_of("manifest"),
                Jsonb([{"digest": digest_of("blob"), "location": "p/1", "byte_offset": 0, "size_bytes": 1}]),
                [self.digest(*key)],
                self.head,
            ),
        )
        self.head = checkpoint
        self.pinned.add(key)

    @invariant()
    def the_tables_are_the_model(self):
        reader = self.tenant.registry("auditor")
        self.reached |= {*self.kernels.values(), *(f"release {state}" for _, state in self.releases.values())}
        self.reached |= {f"alias moved {count} times" for count in self.moves.values()}
        states = {kernel.digest: kernel.state for kernel in list_kernels(reader)}
        assert states == {self.digest(*key): state for key, state in self.kernels.items()}
        releases = {(r.name, r.version): (r.blueprint_digest, r.state) for r in list_releases(reader)}
        assert releases == {key: (document_of(text)[0], state) for key, (text, state) in self.releases.items()}
        found = (find_alias(reader, name, "production") for name in {name for name, _ in self.releases})
        aliases = {a.name: (a.version, a.row_version) for a in found if a is not None}
        assert aliases == {name: (version, self.moves[name]) for name, version in self.aliases.items()}

    @invariant()
    def the_log_tells_it_all(self):
        reader = self.tenant.registry("auditor")
        events = events_after(reader, 0)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert verify_chain(reader) is None
        states, aliases, releases = {}, {}, {}
        for event in events:
            facts = event.facts
            match event.type:
                case "kernel.compiled":
                    states[facts["kernel_digest"]] = "COMPILED"
                case "alias.moved":
                    aliases[facts["name"]] = facts["version"]
                case "blueprint.submitted":
                    releases[facts["name"], facts["version"]] = "SUBMITTED"
                case "release.published" | "release.retired":
                    releases[facts["name"], facts["version"]] = event.type.removeprefix("release.").upper()
                case _ if "to" in facts:
                    assert states[facts["kernel_digest"]] == facts["from"]
                    states[facts["kernel_digest"]] = facts["to"]
        assert states == {self.digest(*key): state for key, state in self.kernels.items()}
        assert aliases == self.aliases
        assert releases == {key: state for key, (_, state) in self.releases.items()}


def test_the_registry_and_its_model_agree(registry_database):
    machine = type("Machine", (RegistryBesideItsModel,), {"admin_url": registry_database, "reached": set()})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=20,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            # A server behind each step makes shrinking take minutes; the failing steps are printed as they are.
            phases=[Phase.generate],
        ),
    )
    # Else the agreement would be about nothing.
    assert machine.reached >= {*ALL_STATES, "release RETIRED", "release PUBLISHED", "alias moved 2 times"}
