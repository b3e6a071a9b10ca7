"""From a loader that missed a kernel to that kernel in service, by the sensor or by the command's way."""

import time

import dagster as dg
import pytest

from morph_kernels.blueprint import Blueprint
from morph_kernels.store.keys import build_request_key
from morph_sensors.build_requests import build_requests
from tests.support.blueprint_text import TEXT

pytestmark = pytest.mark.slow


def tick(orchestra):
    return build_requests(
        dg.build_sensor_context(instance=orchestra.instance, resources={"platform": orchestra.platform})
    )


def asked(platform, count):
    """Wait until so many requests are heard: a loader leaves them behind its caller's back."""
    until = time.monotonic() + 10
    while len(found := platform.build_requests()) < count and time.monotonic() < until:
        time.sleep(0.05)
    assert len(found) == count
    return {request.name: request.answer for request in found}


def test_a_missed_kernel_is_asked_for_built_once_and_then_forgotten(made_platform, orchestra):
    made, _ = made_platform.compiled("ffn_gelu"), orchestra.register("ffn_gelu")
    kernel = made[0]
    loader = made_platform.loader()
    assert loader.load(kernel.blueprint).source == "eager"
    assert made_platform.loader("other-host").load(kernel.blueprint).source == "eager"  # a host of the same kind
    assert asked(orchestra.platform, 1) == {"ffn_gelu": "build"}

    first, second = tick(orchestra), tick(orchestra)
    assert [request.partition_key for request in first.run_requests] == ["ffn_gelu"]
    # Dagster starts one run for one run key.
    assert [r.run_key for r in first.run_requests] == [r.run_key for r in second.run_requests]

    done = orchestra.materialize("compiled_kernel", "kernel_evaluation", "published_kernel", partition="ffn_gelu")
    assert done.success
    assert tick(orchestra).run_requests in (None, [])
    assert orchestra.platform.build_requests() == ()
    assert made_platform.loader("new-host").load(kernel.blueprint).source in {"redis", "store"}


def test_only_what_is_registered_is_built_and_what_is_no_request_is_forgotten(made_platform, orchestra):
    stranger = Blueprint.from_yaml(TEXT)
    made_platform.loader().load(stranger)
    asked(orchestra.platform, 1)
    noise = build_request_key(made_platform.config.tenant, "0" * 64)
    orchestra.platform.connections.store.put_if_absent(noise, b"not a request")

    result = tick(orchestra)

    assert result.run_requests in (None, [])
    assert "morph blueprint submit" in result.skip_reason.skip_message
    assert {request.name: request.answer for request in orchestra.platform.build_requests()} == {
        "block": "not_registered"
    }
