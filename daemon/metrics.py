"""Prometheus metrics, read from the journal at each scrape: they survive a restart and hold no patient data."""

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric


class Snapshot:
    """The journal's counts as metric families."""

    def __init__(self, counts: Mapping[str, int], free_bytes: int):
        self._counts, self._free_bytes = counts, free_bytes

    def collect(self) -> Iterator[Metric]:
        """The families, in the order in which they are printed.

        `counts` has keys like "studies.RECEIVED" and "deliveries.pacs.PENDING".
        """
        studies = GaugeMetricFamily("hilum_studies", "Studies in the journal by state", labels=["state"])
        deliveries = GaugeMetricFamily(
            "hilum_deliveries", "Result objects by destination and state", labels=["destination", "state"]
        )
        for key, number in sorted(self._counts.items()):
            family, *labels = key.split(".")
            (studies if family == "studies" else deliveries).add_metric(labels, number)
        yield studies
        yield deliveries
        yield GaugeMetricFamily("hilum_spool_free_bytes", "Free space where the spool lies", self._free_bytes)


def render(counts: Mapping[str, int], free_bytes: int) -> bytes:
    """The page at /metrics, in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(Snapshot(counts, free_bytes))
    return generate_latest(registry)
