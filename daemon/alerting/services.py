"""Chats, pagers and others through Apprise, an optional library: pip install hilum[apprise]."""

import threading
from contextlib import suppress
from datetime import datetime
from typing import Any

from config.alerting import AppriseSettings
from daemon.alerting.notifier import Announcement, Notifier, refused_for_now, secret_text, unreachable
from daemon.decisions import CannotWork
from storage.records import Sending, Sent


class Services(Notifier):
    """The services behind Apprise's URLs. Raises CannotWork if the library or a usable URL is missing."""

    test_name = "URLs"

    def __init__(self, settings: AppriseSettings):
        self._settings = settings
        self._opened()

    def send(self, message: Announcement, now: datetime) -> Sent:
        """Hand the message to Apprise, which says only whether all services took it."""
        told: list[bool] = []

        def tell() -> None:
            with suppress(Exception):  # of whatever library; its text may hold a secret of a URL
                told.append(bool(services.notify(title=message.subject, body=message.text)))

        try:
            services = self._opened()
        except CannotWork as fault:
            return unreachable(str(fault))
        thread = threading.Thread(target=tell, daemon=True)
        thread.start()
        thread.join(self._settings.timeout_seconds)
        if thread.is_alive():
            return unreachable("Apprise did not end in time")
        if told == [True]:
            return Sent(Sending.ACCEPTED)
        return refused_for_now("a service did not take it; Apprise does not say why")

    def test(self) -> str:
        """Look whether Apprise understands the URLs; nothing is sent."""
        try:
            self._opened()
        except CannotWork as fault:
            return str(fault)
        return ""

    def _opened(self) -> Any:
        try:
            import apprise
        except ImportError as error:
            raise CannotWork('type = "apprise" needs the library: pip install "hilum[apprise]"') from error
        services = apprise.Apprise()
        urls = secret_text(self._settings.urls_file, "urls_file").splitlines()
        for number, url in enumerate(urls, 1):  # a URL holds secrets, so that only its number is named
            if url.strip() and not url.startswith("#") and not services.add(url.strip()):
                raise CannotWork(f"urls_file {self._settings.urls_file}: line {number} is no URL that Apprise knows")
        if not len(services):
            raise CannotWork(f"urls_file {self._settings.urls_file}: found no URL, expected at least one")
        return services
