"""One kernel about to be tried: what it is, and what its children are asked to do."""

import os
from dataclasses import dataclass
from typing import Any

from morph_assets.evaluation.policy import EvaluationPolicy
from morph_assets.evaluation.samples import Sample, plan_covered_share, plan_few, plan_samples, plan_timed
from morph_kernels.artifact.bundle import KernelBundle
from morph_kernels.artifact.manifest import KernelManifest
from morph_kernels.blueprint import Blueprint


@dataclass(frozen=True)
class Trial:
    """A kernel that may be tried, and the samples and thread counts that it is tried with."""

    bundle: KernelBundle
    blueprint: Blueprint
    manifest: KernelManifest
    policy: EvaluationPolicy
    samples: tuple[Sample, ...]
    threads: tuple[int, ...]

    @property
    def timed(self) -> tuple[Sample, ...]:
        """The samples whose steps are timed."""
        return plan_timed(self.samples)

    @property
    def covered_share(self) -> float:
        """The share of the interface's sizes that the libraries say they cover."""
        return plan_covered_share(self.blueprint.interface, self.manifest.convention.ranges)

    def request(self, role: str) -> dict[str, Any]:
        """Return what a child of this role is asked to do."""
        few = Sample("few", plan_few(self.manifest.convention.ranges))
        return {
            "budget_s": self.policy.timing_budget_s,
            "few": [few.to_document()],
            "growth_iterations": self.policy.growth_iterations,
            "name": self.blueprint.name,
            "pairs": self.policy.timing_pairs,
            "role": role,
            "samples": [sample.to_document() for sample in self.samples],
            "threads": list(self.threads),
            "timed": [sample.to_document() for sample in self.timed],
            "timed_threads": sorted({1, len(os.sched_getaffinity(0))}),
        }


def plan_trial(
    bundle: KernelBundle, blueprint: Blueprint, manifest: KernelManifest, *, policy: EvaluationPolicy
) -> Trial:
    """Return the trial of a kernel whose bundle was looked over."""
    samples = plan_samples(blueprint.interface, manifest.convention.ranges, max_elements=policy.max_input_elements)
    # Generated reductions were once sized by the builder's threads: one more than those must be tried.
    threads = tuple(sorted({1, (os.cpu_count() or 1) + 1, policy.most_threads}))
    return Trial(bundle, blueprint, manifest, policy, samples, threads)
