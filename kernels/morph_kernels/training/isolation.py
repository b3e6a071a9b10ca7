"""A generator of one's own: what a seed draws does not move the host's generators."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

import torch


class OwnGenerator:
    """A stream of random numbers for one seed, beside the global one that the host draws from."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._states: dict[str, torch.Tensor] = {}

    @contextmanager
    def drawing(self, device: torch.device) -> Iterator[None]:
        """Draw from this stream; the global generator is as it was afterwards."""
        with self._swapped("cpu"):
            if device.type == "cpu":
                yield
            else:
                with self._swapped(str(device)):
                    yield

    @contextmanager
    def _swapped(self, device: str) -> Iterator[None]:
        generator = torch.default_generator if device == "cpu" else _device_generator(torch.device(device))
        hosts = generator.get_state()
        if device not in self._states:
            self._states[device] = torch.Generator(device).manual_seed(self._seed).get_state()
        generator.set_state(self._states[device])
        try:
            yield
        finally:
            self._states[device] = generator.get_state()
            generator.set_state(hosts)

    def state_dict(self) -> dict[str, object]:
        """Return the state of the stream."""
        return {"seed": self._seed, "states": dict(self._states)}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Take the state of a stream."""
        seed, states = state["seed"], state["states"]
        if not isinstance(seed, int) or not isinstance(states, dict):
            raise TypeError("not the state of a generator")
        self._seed, self._states = seed, dict(states)


def derive_seed(*facts: object) -> int:
    """Return a seed that follows from the facts alone, on every machine."""
    return int.from_bytes(sha256(repr(facts).encode()).digest()[:7])


def _device_generator(device: torch.device) -> torch.Generator:
    index = torch.cuda.current_device() if device.index is None else device.index
    return torch.cuda.default_generators[index]
