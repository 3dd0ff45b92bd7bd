"""What is shipped: the code protoc writes, the lock file, the wheel, the unit."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import wherry

ROOT = Path(__file__).parents[2]
PROTOS = ("wherry/wire/wherry_v1.proto", "wherry/wire/health_v1.proto", "wherry/wire/v0.proto")


def normal(name: str) -> str:
    """Return a package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_generated_code_is_what_protoc_makes_of_the_protos(tmp_path: Path) -> None:
    source = ROOT / "src"
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", f"-I{source}", f"--python_out={tmp_path}"),
            *(f"--pyi_out={tmp_path}", *(str(source / name) for name in PROTOS)),
        ],
        check=True,
    )
    made = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*_pb2.py*"))
    assert len(made) == 2 * len(PROTOS)
    for path in made:
        assert (tmp_path / path).read_text() == (source / path).read_text(), f"{path} is old: make proto"


def test_lock_has_every_dependency_with_hashes_and_names_no_place() -> None:
    text = (ROOT / "requirements.lock").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    locked = {normal(name) for name in re.findall(r"^([\w.-]+)==", text, re.MULTILINE)}
    assert {normal(re.split(r"[<>=~!]", item)[0]) for item in wanted} <= locked
    for entry in re.split(r"\n(?=\S)", text.partition("\n")[2]):
        assert entry.startswith("#") or "--hash=sha256:" in entry, entry
    assert not re.search(r"https?:|file:|@ |--(extra-)?index|--find-links|--trusted|^/", text, re.MULTILINE)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a wheel of this checkout."""
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", directory],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [found] = directory.glob("*.whl")
    return found


def test_wheel_has_types_protos_licence_and_both_programs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [metadata] = [name for name in names if name.endswith("dist-info/METADATA")]
        [entry_points] = [name for name in names if name.endswith("entry_points.txt")]
        parser = configparser.ConfigParser()
        parser.read_string(archive.read(entry_points).decode())
        description = archive.read(metadata).decode()
    assert {"wherry/py.typed", *PROTOS, "wherry/wire/wherry_v1_pb2.pyi", "wherry/shim/__main__.py"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert dict(parser["console_scripts"]) == {"wherry": "wherry.cli.main:enter", "wherryd": "wherry.daemon.main:main"}
    assert f"\nVersion: {wherry.__version__}\n" in description
    assert "\nRequires-Python: >=3.11\n" in description


def test_service_does_not_kill_containers_with_the_daemon() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(ROOT / "packaging" / "wherryd.service")
    service = unit["Service"]
    assert (service["Type"], service["KillMode"], service["Delegate"]) == ("notify", "process", "yes")
    # systemd would remove what containers and a later daemon need.
    assert "RuntimeDirectory" not in service
