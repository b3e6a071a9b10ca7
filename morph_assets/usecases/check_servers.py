"""Asks each production server that the environment names whether it can be used."""

from morph_assets.config import ExternalServers
from morph_assets.devservices.production import ServerAnswer, check_database, check_redis, check_store


def check_servers(external: ExternalServers) -> tuple[ServerAnswer, ...]:
    """Return one answer for each named server; nothing is started."""
    answers = []
    if external.database_url is not None:
        answers.append(check_database(external.database_url))
    if external.redis_url is not None:
        answers.append(check_redis(external.redis_url))
    if external.store_url is not None:
        answers.append(check_store(external.store_url))
    return tuple(answers)
