"""The sensor that warms Redis: for new production releases and for running jobs, each kernel once."""

import dagster as dg
import pytest

from morph_sensors.cache_warming import cache_warming
from tests.integration.test_usecase_publish import NOWHERE
from tests.support.removals import commit_with

pytestmark = pytest.mark.slow


def tick(orchestra, cursor=None, platform=None):
    resources = {"platform": platform or orchestra.platform}
    context = dg.build_sensor_context(instance=orchestra.instance, cursor=cursor, resources=resources)
    return cache_warming(context)


def run(orchestra, request):
    job = orchestra.defs.resolve_job_def("warm_cache")
    return job.execute_in_process(instance=orchestra.instance, run_config=request.run_config)


def in_redis(made_platform):
    return [kernel.digest for kernel in made_platform.platform.connections.redis.kernels()]


def test_a_new_production_release_is_brought_into_redis_once(orchestra, made_platform):
    _, published = made_platform.published()
    redis = made_platform.platform.connections.redis
    redis.drop_bundle(published.digest)

    with made_platform.other(redis_url=NOWHERE) as cut_off:
        down = tick(orchestra, platform=cut_off)
    first = tick(orchestra, down.cursor)
    (request,) = first.run_requests
    assert run(orchestra, request).success

    assert not down.run_requests
    assert in_redis(made_platform) == [published.digest]
    redis.drop_bundle(published.digest)
    assert tick(orchestra, first.cursor).skip_reason.skip_message == "Redis holds what is needed"


def test_what_a_running_job_needs_is_brought_into_redis(orchestra, made_platform, tenant):
    _, published = made_platform.published()
    made_platform.platform.connections.redis.drop_bundle(published.digest)
    idle = tick(orchestra).cursor
    idle = tick(orchestra, idle).cursor.replace(published.digest, "0" * 64)  # asked for nothing yet
    commit_with(tenant, published)

    (request,) = tick(orchestra, idle).run_requests

    assert request.run_config["ops"]["warm"]["config"]["kernels"] == [published.digest]
    run(orchestra, request)
    assert in_redis(made_platform) == [published.digest]
