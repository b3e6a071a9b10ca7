"""Restricted yaml to plain values: no anchors, aliases, tags, merge keys, duplicate keys or second documents.

Built on PyYAML's events, never on its constructors: nothing in a file can name a Python object, and an integer, a
float and a boolean are what JSON says they are (`yes`, `0x10` and `.nan` are texts).
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from morph_kernels.blueprint.cursor import Path, Source, shown
from morph_kernels.blueprint.errors import BlueprintMalformedError, BlueprintTooLargeError
from morph_kernels.blueprint.limits import MAX_DEPTH, MAX_ELEMENTS, MAX_SOURCE_BYTES

_INTEGER: Final = re.compile(r"-?(0|[1-9][0-9]*)")
_FLOAT: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_MAX_DIGITS: Final = 32
_WORDS: Final = {"true": True, "false": False, "null": None, "~": None, "": None}


def read_yaml(text: str) -> Source:
    """Parse untrusted yaml text into plain values with their lines.

    Raises:
        BlueprintMalformedError: not yaml, or more of yaml than is allowed.
        BlueprintTooLargeError: too many bytes, levels or elements.
    """
    if len(text) > MAX_SOURCE_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_SOURCE_BYTES:
        raise BlueprintTooLargeError(f"document: has more than the {MAX_SOURCE_BYTES} bytes allowed")
    try:
        return _Reader(yaml.parse(text, Loader=yaml.SafeLoader)).document()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}" if mark is not None else "document"
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
        raise BlueprintMalformedError(f"{place}: not yaml: {' '.join(str(problem).split())}") from None


class _Reader:
    """One pass over the events; depth and elements are bounded before anything is kept."""

    def __init__(self, events: Iterator[yaml.Event]) -> None:
        self._events = events
        self._elements = 0
        self._lines: dict[Path, int] = {}

    def document(self) -> Source:
        self._expect(yaml.StreamStartEvent, "a document")
        start = self._expect(yaml.DocumentStartEvent, "a document")
        if start.tags:
            raise BlueprintMalformedError(f"{_place(start)}: %TAG directives are not allowed")
        value = self._value(next(self._events), ())
        self._expect(yaml.DocumentEndEvent, "the end of the document")
        self._expect(yaml.StreamEndEvent, "one document only")
        return Source(value, self._lines)

    def _expect(self, kind: type[yaml.Event], what: str) -> Any:
        event = next(self._events)
        if not isinstance(event, kind):
            raise BlueprintMalformedError(f"{_place(event)}: expected {what}")
        return event

    def _value(self, event: yaml.Event, path: Path) -> Any:
        self._admit(event, path)
        self._lines[path] = _line(event)
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        return self._mapping(path)

    def _admit(self, event: yaml.Event, path: Path) -> None:
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise BlueprintMalformedError(f"{_place(event)}: anchors and aliases are not allowed: write the value out")
        if (tag := getattr(event, "tag", None)) is not None:
            raise BlueprintMalformedError(f"{_place(event)}: tags are not allowed: {shown(tag)}")
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise BlueprintTooLargeError(f"{_place(event)}: has more than the {MAX_ELEMENTS} elements allowed")
        if len(path) > MAX_DEPTH:
            raise BlueprintTooLargeError(f"{_place(event)}: nested deeper than the {MAX_DEPTH} levels allowed")

    def _sequence(self, path: Path) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event, (*path, len(items))))
        return items

    def _mapping(self, path: Path) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise BlueprintMalformedError(f"{_place(event)}: a key must be a plain text")
            self._admit(event, path)
            key = event.value
            if key in entries:
                raise BlueprintMalformedError(f"{_place(event)}: duplicate key {shown(key)}")
            entries[key] = self._value(next(self._events), (*path, key))
        return entries


def _scalar(event: yaml.ScalarEvent) -> Any:
    text = event.value
    if event.style is not None:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _MAX_DIGITS:
        # Also keeps Python's limit on converting long digit strings out of reach.
        if _FLOAT.fullmatch(text):
            raise BlueprintMalformedError(f"{_place(event)}: a number has more than {_MAX_DIGITS} characters")
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _place(event: yaml.Event) -> str:
    return f"line {_line(event)}"


def _line(event: yaml.Event) -> int:
    mark = event.start_mark
    return 1 if mark is None else mark.line + 1
