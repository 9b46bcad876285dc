"""The types of notifier: one row of `TYPES` each.

To add a type, write its settings in `config.alerting` and a module beside this one with a `Notifier`, and add its row.
"""

from collections.abc import Callable
from typing import Any

from config.alerting import AppriseSettings, EmailSettings, NotifierSettings, WebhookSettings
from daemon.alerting.mail import Email
from daemon.alerting.notifier import Notifier
from daemon.alerting.services import Services
from daemon.alerting.webhook import Webhook
from daemon.decisions import CannotWork

TYPES: dict[type[NotifierSettings], Callable[[Any], Notifier]] = {
    WebhookSettings: Webhook,
    EmailSettings: Email,
    AppriseSettings: Services,
}


def open_notifier(settings: NotifierSettings) -> Notifier:
    """Return the notifier of these settings; nothing is connected yet. Raises CannotWork if it cannot be used."""
    try:
        return TYPES[type(settings)](settings)
    except CannotWork as fault:
        raise CannotWork(f"notifier {settings.name}: {fault}") from fault
