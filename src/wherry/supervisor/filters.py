"""Filters of event streams: KEY=VALUE."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wherry import errors
from wherry.model import status as st

_FIELDS = ("type", "namespace", "container", "process")


def parse(texts: Sequence[str]) -> Callable[[st.Event], bool]:
    """Return a test for events: for every key one of its values must hold. Raises InvalidArgument."""
    wanted: dict[str, set[str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not (key in _FIELDS or key.removeprefix("label.") not in ("", key)):
            raise errors.InvalidArgument(
                f"filter {text!r} is not valid: KEY=VALUE is expected, KEY one of {', '.join(_FIELDS)}, label.NAME"
            )
        if key == "type" and value not in st.EVENT_TYPES:
            raise errors.InvalidArgument(
                f"filter {text!r} is not valid: the types of events are {', '.join(st.EVENT_TYPES)}"
            )
        wanted.setdefault(key, set()).add(value)
    return lambda event: all(_value(event, key) in values for key, values in wanted.items())


def _value(event: st.Event, key: str) -> str | None:
    if key in _FIELDS:
        return str(getattr(event, key))
    return event.labels.get(key.removeprefix("label."))
