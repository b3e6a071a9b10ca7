"""The variables that Dagster and other shells need to find the embedded platform."""

import json

from morph_assets.config import DAGSTER_DATABASE_VARIABLE, PlatformFolders
from morph_assets.devservices.errors import ServicesError
from morph_assets.devservices.layout import HomeLayout


def read_environment(folders: PlatformFolders) -> dict[str, str]:
    """Return the variables by name, with Dagster's database URL as `morph up` wrote it.

    Never one of `MORPH_DATABASE_URL`, `MORPH_REDIS_URL`, `MORPH_STORE_URL`: they would select the production profile.

    Raises:
        ServicesError: the platform was never up here.
    """
    return {
        "MORPH_HOME": str(folders.home),
        "DAGSTER_HOME": str(folders.dagster_home),
        DAGSTER_DATABASE_VARIABLE: read_dagster_url(folders),
    }


def read_dagster_url(folders: PlatformFolders) -> str:
    """Return the URL of Dagster's own database.

    Raises:
        ServicesError: the platform was never up here.
    """
    try:
        return str(json.loads(HomeLayout(folders.home).endpoints_file.read_bytes())["dagster_database_url"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ServicesError(f"{folders.home} has no usable endpoints.json: run `morph up` first") from error
