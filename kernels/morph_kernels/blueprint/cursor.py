"""Reading an untrusted document value by value, each refusal with its place."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NoReturn, Self

from morph_kernels.blueprint.errors import BlueprintError, BlueprintRuleError, BlueprintTooLargeError

Path = tuple[str | int, ...]
_SHOWN_CHARS = 60
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_]{1,60}")


@dataclass(frozen=True)
class Source:
    """A parsed document: plain values, and the line of each where the source has lines."""

    value: Any
    lines: Mapping[Path, int] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Cursor:
    """One value of a document and where it stands."""

    source: Source
    value: Any
    path: Path = ()
    label: str = ""

    @classmethod
    def of(cls, source: Source) -> Self:
        """Return the cursor at the root of the document."""
        return cls(source, source.value)

    def fail(self, message: str, error: type[BlueprintError] = BlueprintRuleError) -> NoReturn:
        """Raise the error with the line, the label and the path of this value in front."""
        raise error(f"{self.place}: {message}")

    @property
    def place(self) -> str:
        """The line where known, what the value belongs to, and its path."""
        line = next((self.source.lines[p] for p in self._paths_up() if p in self.source.lines), None)
        path = "".join(_step(step) for step in self.path).lstrip(".")
        parts = [f"line {line}" if line is not None else "", self.label, path]
        return ", ".join(part for part in parts if part) or "document"

    def named(self, label: str) -> Self:
        """Return the same place under a label such as `node 'up'`."""
        return type(self)(self.source, self.value, self.path, label)

    def mapping(self, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, Self]:
        """Return the entries by key; every required key is there, and no unknown one."""
        entries = self.entries()
        allowed = (*required, *optional)
        for key, entry in entries.items():
            if key not in allowed:
                entry.fail(f"unknown key {shown(key)}; allowed here: {', '.join(allowed) or 'no keys'}")
        for key in required:
            if key not in entries:
                self.fail(f"missing key {key!r}; allowed here: {', '.join(allowed)}")
        return entries

    def entries(self, *, most: int = 64) -> dict[str, Self]:
        """Return the entries of a mapping with any keys."""
        if not isinstance(self.value, dict):
            self.fail(f"must be a mapping, not {shown(self.value)}")
        if len(self.value) > most:
            self.fail(f"has {len(self.value)} entries; at most {most} are allowed", BlueprintTooLargeError)
        return {key: self._child(key, value) for key, value in self.value.items()}

    def items(self, *, least: int = 0, most: int) -> Iterator[Self]:
        """Return the items of a list of bounded length."""
        if not isinstance(self.value, list):
            self.fail(f"must be a list, not {shown(self.value)}")
        if len(self.value) > most:
            self.fail(f"has {len(self.value)} items; at most {most} are allowed", BlueprintTooLargeError)
        if len(self.value) < least:
            self.fail(f"has {len(self.value)} items; at least {least} are needed")
        return iter([self._child(index, value) for index, value in enumerate(self.value)])

    def integer(self, least: int, most: int) -> int:
        """Return an integer within the bounds; a float, a boolean and a text are not integers."""
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            self.fail(f"must be an integer from {least} to {most}, not {shown(self.value)}")
        if not least <= self.value <= most:
            self.fail(f"must be an integer from {least} to {most}, not {shown(self.value)}")
        return self.value

    def number(self, least: float, most: float) -> float:
        """Return a finite number within the bounds as a float."""
        if not isinstance(self.value, int | float) or isinstance(self.value, bool):
            self.fail(f"must be a number from {least:g} to {most:g}, not {shown(self.value)}")
        # Compare before converting: a huge integer has no float.
        if not least <= self.value <= most or not math.isfinite(self.value):
            self.fail(f"must be a number from {least:g} to {most:g}, not {shown(self.value)}")
        return float(self.value) + 0.0  # -0.0 becomes 0.0, as its canonical form does

    def flag(self) -> bool:
        """Return a boolean."""
        if not isinstance(self.value, bool):
            self.fail(f"must be true or false, not {shown(self.value)}")
        return self.value

    def text(self, pattern: re.Pattern[str], allowed: str) -> str:
        """Return a text that matches the whole pattern; `allowed` says the pattern in words."""
        if not isinstance(self.value, str) or not pattern.fullmatch(self.value):
            self.fail(f"must be {allowed}, not {shown(self.value)}")
        return self.value

    def choice(self, *allowed: str) -> str:
        """Return one of the allowed texts."""
        if not isinstance(self.value, str) or self.value not in allowed:
            self.fail(f"must be one of {', '.join(allowed)}, not {shown(self.value)}")
        return self.value

    def _child(self, key: str | int, value: Any) -> Self:
        return type(self)(self.source, value, (*self.path, key), self.label)

    def _paths_up(self) -> Iterator[Path]:
        return (self.path[:length] for length in range(len(self.path), -1, -1))


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if _PLAIN_KEY.fullmatch(step) else f".{shown(step)}"


def shown(value: object) -> str:
    """Return a short, one-line picture of an untrusted value."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**18:
        return f"an integer of {value.bit_length()} bits"
    kind = {dict: "a mapping", list: "a list", type(None): "nothing"}.get(type(value))
    text = kind or repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."
