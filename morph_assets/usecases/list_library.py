"""The library as a table: one row for each kernel, plain numbers and words."""

from typing import Any

from morph_assets.connections import Connections
from morph_assets.registry.builds import build_costs
from morph_assets.registry.evaluations import list_newest_measurements
from morph_assets.registry.kernels import KernelRecord, list_kernels

_ERRORS = ("worst_output_error", "worst_gradient_error", "worst_buffer_error")


def list_library(connections: Connections) -> list[dict[str, Any]]:
    """Return a row a kernel with what was measured last; what nobody measured is None."""
    registry = connections.registry("platform")
    costs, measured = build_costs(registry), list_newest_measurements(registry)
    return [
        _row(kernel, measured.get(kernel.digest, {}), costs.get(kernel.digest)) for kernel in list_kernels(registry)
    ]


def _row(kernel: KernelRecord, measured: dict[str, float], build_cpu_s: float | None) -> dict[str, Any]:
    errors = [measured[metric] for metric in _ERRORS if metric in measured]
    return {
        "name": next(iter(kernel.names), ""),
        "names": ", ".join(kernel.names),
        "kernel_digest": kernel.digest,
        "blueprint_digest": kernel.blueprint_digest,
        "state": kernel.state,
        "device": kernel.device,
        "isa": kernel.isa,
        "dtype": kernel.dtype,
        "torch": kernel.torch,
        "pipeline": kernel.pipeline,
        "speed_ratio": kernel.speed_ratio,
        "latency_us": kernel.latency_us,
        "memory_bytes": kernel.memory_bytes,
        "worst_relative_error": max(errors, default=None),
        "worst_gradient_error": measured.get("worst_gradient_error"),
        "covered_share": measured.get("covered_share"),
        "risk": measured.get("risk"),
        "size_bytes": kernel.size_bytes,
        "load_ms": measured.get("load_ms"),
        "build_cpu_s": build_cpu_s,
        "tags": ", ".join(kernel.tags),
        "created_at": kernel.created_at,
    }
