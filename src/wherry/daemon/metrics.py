"""Prometheus metrics over HTTP; imported only when an address is configured."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from wherry import errors
from wherry.daemon import config
from wherry.model.lifecycle import State
from wherry.supervisor.supervisor import Supervisor


class _Collector(Collector):
    def __init__(self, supervisor: Supervisor) -> None:
        self._core = supervisor.core

    def collect(self) -> Iterator[Metric]:
        tally = Tally(live.state for live in list(self._core.containers.values()))
        containers = GaugeMetricFamily("wherry_containers", "Containers by state", labels=["state"])
        for state in State:
            containers.add_metric([state.value], tally[state])
        yield containers
        yield CounterMetricFamily(
            "wherry_events", "Sequence number of the last event", value=self._core.journal.last_seq
        )
        yield GaugeMetricFamily("wherry_tasks", "Changes of state under way", value=len(self._core.tasks.names()))


def start(supervisor: Supervisor, address: str) -> None:
    """Serve /metrics at HOST:PORT from a thread. Raises InvalidArgument or Unavailable."""
    host, port = config.parse_endpoint(address)
    registry = CollectorRegistry()
    registry.register(_Collector(supervisor))
    try:
        start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise errors.Unavailable(f"cannot serve metrics at {address}: {error.strerror or error}") from error
