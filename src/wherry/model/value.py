"""Frozen values: what `dataclasses.dataclass(frozen=True, kw_only=True, slots=True)` makes, with one set of methods.

The standard decorator compiles six methods for each class; for the values that every command imports, that was a sixth
of the time of a short command (docs/performance.md). Type checkers see the standard decorator.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

T = TypeVar("T")

_MISSING = dataclasses.MISSING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414 - for whoever imports it from here
else:

    def dataclass(*, frozen, kw_only, slots):
        """Return a decorator; all three must be True."""
        assert frozen
        assert kw_only
        assert slots

        def decorate(cls):
            made = dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=True, slots=True)(cls)
            made._defaults = {item.name: _default(item) for item in dataclasses.fields(made)}
            for name, method in _METHODS.items():
                setattr(made, name, method)
            return made

        return decorate


def _default(item: dataclasses.Field[Any]) -> tuple[Any, Any]:
    return item.default, item.default_factory


def _init(self: Any, /, **given: Any) -> None:
    put, take = object.__setattr__, given.pop
    for name, (default, factory) in self._defaults.items():
        value = take(name, default)
        if value is _MISSING:
            if factory is _MISSING:
                raise TypeError(f"{type(self).__name__} needs {name!r}")
            value = factory()
        put(self, name, value)
    if given:
        raise TypeError(f"{type(self).__name__} has no {next(iter(given))!r}")


def _values(self: Any) -> tuple[Any, ...]:
    return tuple([getattr(self, name) for name in self._defaults])


def _eq(self: Any, other: object) -> Any:
    return _values(self) == _values(other) if other.__class__ is self.__class__ else NotImplemented


def _hash(self: Any) -> int:
    return hash(_values(self))


def _repr(self: Any) -> str:
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._defaults)
    return f"{type(self).__qualname__}({shown})"


def _set(_self: Any, name: str, _value: object) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _delete(_self: Any, name: str) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _reduce(self: Any) -> tuple[Any, ...]:
    return _make, (type(self), {name: getattr(self, name) for name in self._defaults})


def _make(cls: type[T], fields: dict[str, Any]) -> T:
    return cls(**fields)


_METHODS = {
    "__init__": _init,
    "__eq__": _eq,
    "__hash__": _hash,
    "__repr__": _repr,
    "__setattr__": _set,
    "__delattr__": _delete,
    "__reduce__": _reduce,
}
