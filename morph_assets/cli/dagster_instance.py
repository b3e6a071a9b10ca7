"""Dagster's own instance, for commands that read it or tell it something."""

from morph_assets.config import (
    enter_environment,
    read_dagster_database,
    read_dagster_home,
    read_external,
    read_folders,
)


def enter_dagster() -> str:
    """Let this process find Dagster's instance, and return its database.

    Raises:
        ServicesError: nothing says where it is.
    """
    from morph_assets.devservices.errors import ServicesError
    from morph_assets.usecases.read_environment import read_environment

    if not read_external().is_production:
        enter_environment(read_environment(read_folders()))
    url = read_dagster_database()
    if url is None or read_dagster_home() is None:
        raise ServicesError("DAGSTER_HOME and MORPH_DAGSTER_DATABASE_URL name Dagster's instance: set both")
    return url
