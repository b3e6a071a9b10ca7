"""What every use case does that changes the registry, before it says so: the change's events lie in the store."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from morph_assets.connections import Connections
from morph_assets.usecases.archive_log import archive_log

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")
_UseCase = Callable[Concatenate[Connections, _Parameters], _Result]


def acknowledged(use_case: _UseCase[_Parameters, _Result]) -> _UseCase[_Parameters, _Result]:
    """Decorate a use case that changes something: it returns only once its events are archived.

    Where the store does not answer, the change stands and `StoreError` is raised: the caller may say it again, and the
    next acknowledgement archives it. An error of the use case itself passes as it is.
    """

    @wraps(use_case)
    def acknowledge(connections: Connections, /, *args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        result = use_case(connections, *args, **kwargs)
        archive_log(connections)
        return result

    return acknowledge
