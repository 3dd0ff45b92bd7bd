"""Random messages of both APIs, by their descriptors, kept from what could reach beyond a test's own directory."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support import rootfs
from wherry.model import request as req
from wherry.wire import convert

#: What has been trouble somewhere.
WORDS = (
    *("", "a b", "../..", "..", ".", "/", "-x", "~", "a/b", "\0", "\n", "\x1f", "\x7f", "\u2028", "ä", "😀", "%s%n"),
    *(
        "$(true)",
        "x" * 129,
        "y" * 5000,
        "9" * 400,
        "nan",
        "[" * 3000,
        '{"a":',
        "=",
        "=x",
        "A=",
        ".hidden",
        "sh\x1b[31m",
    ),
)
PROCESSES = ('{"args":["true"],"cwd":"/"}', '{"args":["\\ud800"],"cwd":"/"}')
NUMBERS = (0, 1, -1, 2, 15, 64, 65535, 65536, 2**31 - 1, -(2**31), 2**31, 2**32 - 1, 2**63 - 1, -(2**63), 2**64 - 1)
FLOATS = (0.0, -0.0, 0.05, 1.5, -1.0, 1e-300, 1e9, 1e300, float("inf"), float("-inf"), float("nan"))
COMMANDS = (("true",), ("false",), ("sleep", "300"), ("sh", "-c", "echo a; exit 3"), ("no-such",), ("",), ("a\0b",))
_COUNTER = itertools.count(1)


class Writer:
    """Writes messages; `names` are ids that containers may have, `base` is where their files may be."""

    def __init__(self, chance: random.Random, names: tuple[str, ...], base: Path) -> None:
        self._chance = chance
        self._names = names
        self._paths = tuple(f"{base}/{name}" for name in ("bundle", "odd", "rootfs", "none", "x" * 300))
        self._texts: dict[str, Callable[[], Any]] = {
            "id": self._id,
            "namespace": lambda: self._pick(("", "", "", "default", "other", "quarantine", "a/b", "x" * 200)),
            "kind": lambda: self._pick(("rootfs", "bundle", "host", "nope")),
            "to": lambda: self._pick(("", "nowhere", "tcp://", "unix://relative", f"unix://{base}/none")),
            "runtime": lambda: self._pick(("", "", "crun", "runc", "nope", "relative/crun", "\0", f"{base}/none")),
            "runtime_args": lambda: self._pick(("--debug", "", "x", "--root=/a")),
            "mode": lambda: self._pick(("managed", "null", "fifo", "nope")),
            "name": lambda: self._pick(("c1", "c2", "no", "always", "nofile", *WORDS)),
            "token": lambda: self._pick(("0123456789abcdef", "f" * 64, *WORDS)),
            "filters": lambda: self._pick(("type=exit", "label.a=b", "namespace=default", *WORDS)),
            "oci_process": lambda: self._pick(("", "", *PROCESSES, *WORDS)),
        }
        self._texts |= dict.fromkeys(("process", "pid"), self._process)
        self._texts |= dict.fromkeys(("new_ids",), self._id)
        self._texts |= {"runtimeArgs": self._texts["runtime_args"], "checkpoint": self._texts["name"]}
        paths = ("path", "source", "stdin", "stdout", "stderr", "bundlePath", "checkpointDir")
        self._texts |= dict.fromkeys(paths, lambda: self._pick(("", "relative", "/\0", *self._paths)))

    def _pick(self, choices: Any) -> Any:
        return self._chance.choice(choices)

    def _id(self) -> str:
        return str(self._pick((*self._names, *self._names, *self._names, self._pick(WORDS))))

    def _process(self) -> str:
        return str(self._pick(("init", "init", "", f"e{self._chance.randrange(1, 20)}", "a/b", "\0")))

    def write(self, kind: Any) -> Any:
        """Return a message of a class: of a creation mostly one that would succeed, with little changed."""
        made = self._good(kind)
        return self.fill(kind()) if made is None else self.fill(made, share=self._pick((0.02, 0.05, 0.1, 0.5)))

    def _good(self, kind: Any) -> Any:
        name, args = self._pick(self._names), self._pick(COMMANDS[2:4])
        if kind.DESCRIPTOR.name == "CreateRequest":
            return convert.to_message(req.CreateRequest(id=name, args=args))
        if kind.DESCRIPTOR.name == "ExecRequest":
            return convert.to_message(req.ExecRequest(id=name, args=args))
        if kind.DESCRIPTOR.name == "CreateContainerRequest":
            return kind(id=name, bundlePath=self._paths[0])
        return kind(id=name, args=args, cwd="/") if kind.DESCRIPTOR.name == "AddProcessRequest" else None

    def fill(self, message: Any, depth: int = 4, share: float = 0.5) -> Any:
        """Set some of the fields of a message, a share of them, and return it."""
        for field in message.DESCRIPTOR.fields:
            if self._chance.random() > (0.9 if field.name == "id" and share == 0.5 else share):
                continue
            if field.message_type is not None and field.message_type.GetOptions().map_entry:
                self._fill_map(message, field)
            elif field.message_type is not None:
                part = getattr(message, field.name)
                if depth > 0:
                    self.fill(part.add() if field.is_repeated else part, depth - 1)
            elif field.name == "args":
                message.ClearField("args")
                message.args.extend(self._pick(COMMANDS))
            elif field.is_repeated:
                getattr(message, field.name).extend(self._value(field) for _ in range(self._chance.randrange(3)))
            else:
                setattr(message, field.name, self._value(field))
        if message.DESCRIPTOR.name in ("ExecRequest", "AddProcessRequest"):
            name = "process" if message.DESCRIPTOR.name == "ExecRequest" else "pid"
            # Each once: the check of the journal takes what is told twice for a fault.
            setattr(message, name, self._pick(("a/b", *[f"e{next(_COUNTER)}"] * 6)))
        _tame(message)
        return message

    def _fill_map(self, message: Any, field: Any) -> None:
        if field.message_type.fields_by_name["value"].cpp_type == field.CPPTYPE_STRING:
            getattr(message, field.name)[str(self._pick(WORDS))] = self._pick(WORDS)

    def _value(self, field: Any) -> Any:
        kind = field.cpp_type
        if field.type == field.TYPE_BYTES:
            return self._chance.randbytes(self._chance.randrange(200))
        if kind == field.CPPTYPE_STRING:
            return self._texts.get(field.name, lambda: self._pick(WORDS))()
        if kind == field.CPPTYPE_BOOL:
            return self._chance.random() < 0.5
        if kind in (field.CPPTYPE_DOUBLE, field.CPPTYPE_FLOAT):
            return self._pick(FLOATS[:5] if field.name == "timeout" else FLOATS)
        bits = 32 if kind in (field.CPPTYPE_INT32, field.CPPTYPE_UINT32) else 64
        is_signed = kind in (field.CPPTYPE_INT32, field.CPPTYPE_INT64)
        low, high = (-(1 << bits - 1), 1 << bits - 1) if is_signed else (0, 1 << bits)
        return self._pick([number for number in NUMBERS if low <= number < high])


def _tame(message: Any) -> None:
    """Take away what could harm the machine: rights, and what is not in the test's own directory."""
    for name in ("privileged", "writable"):
        if name in message.DESCRIPTOR.fields_by_name:
            message.ClearField(name)
    for name in ("here", "cap_add"):
        if name in message.DESCRIPTOR.fields_by_name:
            message.ClearField(name)
    if getattr(message, "network", "") == "host":
        message.network = "none"
    if message.DESCRIPTOR.name == "Source" and message.kind in ("", "host"):
        message.ClearField("path")
    if message.DESCRIPTOR.name == "CreateRequest" and not message.args:
        message.args.append("true")


def make_directories(base: Path, busybox: Path) -> None:
    """Make a bundle that works, one that is odd, and an empty root filesystem below `base`."""
    config = rootfs.make_config("sleep", "300", rootfs=str(busybox), cgroup="")
    config["linux"].pop("cgroupsPath", None)
    (base / "bundle").mkdir()
    (base / "bundle" / "config.json").write_text(json.dumps(config))
    config["process"]["args"] = ["true", "\ud800"]
    (base / "odd").mkdir()
    (base / "odd" / "config.json").write_text(json.dumps(config))
    (base / "rootfs").mkdir()
