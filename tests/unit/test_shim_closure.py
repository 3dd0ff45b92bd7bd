"""What a shim is made of: few modules, all of them there before the first fork."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import wherry
from wherry import shim

_SOURCE = Path(wherry.__file__).parents[1]
_OURS = {
    "wherry",
    "wherry.linux",
    "wherry.linux.failpoint",
    "wherry.linux.libc",
    "wherry.model",
    "wherry.model.frame",
    "wherry.shim",
    "wherry.shim.attach",
    "wherry.shim.creation",
    "wherry.shim.log",
    "wherry.shim.record",
    "wherry.shim.rehearsal",
    "wherry.shim.relay",
    "wherry.shim.shim",
    "wherry.shim.stdio",
    "wherry.shim.streams",
    "wherry.shim.wakeup",
    "wherry.shim.zygote",
}
#: Beyond what a bare interpreter has. Each costs every zygote its start and its pages; add none without a reason.
_STANDARD = {
    "ctypes", "ctypes._endian", "struct",  # system calls that os lacks
    "socket", "selectors", "select", "array", "math", "errno",  # send_fds, recv_fds; socket needs selectors
    "fcntl", "termios",  # the size of a terminal
    "enum", "types", "functools", "collections", "collections.abc", "keyword", "operator", "reprlib",  # enum needs them
    "itertools", "gc", "time", "signal", "resource",
    "os", "os.path", "posixpath", "genericpath", "stat", "__future__",
}  # fmt: skip
_NEVER = {
    "asyncio",
    "logging",
    "typing",
    "json",
    "re",
    "dataclasses",
    "inspect",
    "traceback",
    "subprocess",
    "threading",
}
_FILES = sorted(Path(shim.__file__).parent.glob("*.py"))


def modules(code: str) -> set[str]:
    """Return what is imported after `code` in an interpreter started as the zygote's is."""
    script = f"import sys\n{code}\nprint(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True, timeout=30
    )
    return set(result.stdout.split())


def test_a_shim_is_made_of_what_is_listed_and_nothing_else() -> None:
    path = f"sys.path.insert(0, {str(_SOURCE)!r})"
    found = modules(f"{path}\nfrom wherry.shim import zygote\ndel sys.path[0]") - modules("")
    ours = {name for name in found if name.partition(".")[0] == "wherry"}
    public = {name for name in found - ours if not name.startswith("_") or name == "__future__"}
    assert ours == _OURS
    assert public <= _STANDARD
    assert not found & (_NEVER | {"site"})


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.name)
def test_nothing_is_imported_inside_a_function(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            for inner in ast.walk(node):
                assert not isinstance(inner, ast.Import | ast.ImportFrom), f"{path}:{inner.lineno}"
                name = getattr(getattr(inner, "func", None), "id", "")
                assert name not in ("__import__", "exec", "eval"), path


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.name)
def test_what_is_imported_under_a_condition_is_for_the_type_checker_only(path: Path) -> None:
    tree = ast.parse(path.read_text())
    conditions = [node for node in tree.body if isinstance(node, ast.If)]
    for node in conditions:
        test = ast.unparse(node.test)
        imports = [inner for inner in ast.walk(node) if isinstance(inner, ast.Import | ast.ImportFrom)]
        assert not imports or test in ("TYPE_CHECKING", "__name__ == '__main__'")
    # The constant is written out: importing it from typing would bring typing in.
    if any(ast.unparse(node.test) == "TYPE_CHECKING" for node in conditions):
        assert "TYPE_CHECKING = False" in path.read_text()


@pytest.mark.parametrize("call", ["os.wait4(os.fork() or os._exit(0), 0)", "time.strftime('%Y', time.gmtime())"])
def test_what_the_standard_library_imports_on_first_use_is_known(call: str) -> None:
    before = modules("import os, time")
    assert modules(f"import os, time\n{call}") - before <= {"resource", "_strptime"}
