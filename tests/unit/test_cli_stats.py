"""`wherry stats`, `pause` and `resume` against a fake service."""

from __future__ import annotations

import json

import pytest

from tests.unit.test_cli_fake import FakeService, install
from wherry.cli.commands.stats import format_bytes
from wherry.cli.main import main
from wherry.model import request as req


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> FakeService:
    fake = FakeService()
    install(monkeypatch, fake)
    return fake


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0B"), (999, "999B"), (1000, "1kB"), (1_234_567, "1.23MB"), (999_999, "1MB")],
)
def test_bytes_have_three_digits(count: int, text: str) -> None:
    assert format_bytes(count) == text


def test_stats_of_a_container_are_a_table_and_an_array(
    service: FakeService, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["create", "--name", "web", "host", "--", "true"])
    capsys.readouterr()
    assert main(["stats", "web"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split()[:2] == ["ID", "CPU"]
    assert row.split() == ["web", "1.50s", "1.23MB", "64MB", "0", "0B", "0B", "0B", "0B"]
    assert main(["stats", "--json", "web"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["memory"]["usage_bytes"] == 1_234_567


def test_stats_follow_prints_one_object_a_line(service: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    main(["create", "--name", "web", "host", "--", "true"])
    capsys.readouterr()
    assert main(["stats", "-f", "--interval", "250ms", "--json", "web"]) == 0
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == ["web", "web"]
    assert req.StatsRequest(id="web", interval=0.25) in service.calls


def test_stats_of_a_container_that_is_not_there_fail(service: FakeService, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", "nope"]) == 125
    assert "nope" in capsys.readouterr().err


def test_pause_and_resume_name_the_container(service: FakeService) -> None:
    main(["create", "--name", "web", "host", "--", "true"])
    assert main(["pause", "web"]) == 0
    assert main(["resume", "web"]) == 0
    assert service.calls[-2:] == [req.ContainerRef(id="web")] * 2
