"""Prometheus metrics. They are read from the journal at each scrape, so they survive a restart. No patient data."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from storage.journal import Journal
from storage.spool import Spool


class Snapshot:
    """A collector for Prometheus' library: the journal's counts as metric families."""

    def __init__(
        self,
        studies: Mapping[str, int],
        images: Mapping[str, int],
        deliveries: Mapping[tuple[str, str], int],
        free_bytes: int,
        expiries: Mapping[str, datetime],
        audit_pending: int | None = None,
        notifications: Mapping[tuple[str, str], int] | None = None,
    ):
        self._studies, self._images = studies, images
        self._deliveries, self._free_bytes = deliveries, free_bytes
        self._expiries, self._audit_pending = expiries, audit_pending
        self._notifications = notifications or {}

    def collect(self) -> Iterator[Metric]:
        """Yield the families in the order in which they are printed."""
        studies = GaugeMetricFamily("hilum_studies", "Studies in the journal by state", labels=["state"])
        for state, number in sorted(self._studies.items()):
            studies.add_metric([state], number)
        images = GaugeMetricFamily("hilum_images", "Images by verdict; the journal has the reasons", labels=["verdict"])
        for verdict, number in sorted(self._images.items()):
            images.add_metric([verdict], number)
        deliveries = GaugeMetricFamily(
            "hilum_deliveries", "Result objects by destination and state", labels=["destination", "state"]
        )
        for labels, number in sorted(self._deliveries.items()):
            deliveries.add_metric(labels, number)
        yield studies
        yield images
        yield deliveries
        notifications = GaugeMetricFamily(
            "hilum_notifications", "Notifications by notifier and state", labels=["notifier", "state"]
        )
        for labels, number in sorted(self._notifications.items()):
            notifications.add_metric(labels, number)
        yield notifications
        yield GaugeMetricFamily(
            "hilum_spool_free_bytes", "Free space on the file system of the spool", self._free_bytes
        )
        expiries = GaugeMetricFamily(
            "hilum_certificate_expires_timestamp_seconds", "When a file of [tls] expires", labels=["file"]
        )
        for file, ends in self._expiries.items():
            expiries.add_metric([file], ends.timestamp())
        yield expiries
        if self._audit_pending is not None:
            yield GaugeMetricFamily("hilum_audit_pending", "Audit rows not yet sent to syslog", self._audit_pending)


def render(journal: Journal, spool: Spool, expiries: Mapping[str, datetime], audit_pending: int | None = None) -> bytes:
    """Return the page at /metrics, in Prometheus' text format.

    `expiries` says when certificates expire, by their key in [tls]. `audit_pending` is the number of rows of the audit
    trail that wait for the syslog server, or None if none is configured.
    """
    registry = CollectorRegistry()
    counts = journal.counts(), journal.image_counts(), journal.delivery_counts()
    told = journal.notification_counts()
    registry.register(Snapshot(*counts, spool.free_bytes(), expiries, audit_pending, told))
    return generate_latest(registry)
