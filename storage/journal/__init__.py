"""The journal: the database tables that say where every study stands. After a restart everything is read from it.

    arrivals.py      received, knows, holds, record
    studies.py       settled, release_claims, forgive_claims, unclaim, quarantine, release, discard, replay
    outcomes.py      analysed
    deliveries.py    due, next_due, sent, postpone, resume, retry
    commitments.py   storage commitment in both roles
    notifications.py notifications_due, postpone_notifications, notified
    conflicts.py     take, discard_conflict
    feedback.py      judge
    trials.py        waiting_trials, tried, trial_failed, give_trial_back, promotions, promote, roll_back
    retention.py     expired, counts
    clock_steps.py   bring_forward, set_forward

Every change is one transaction together with its audit row. Every method may be called again after
`DatabaseUnavailable`.
"""

from storage.journal.arrivals import Arrivals
from storage.journal.clock_steps import ClockSteps
from storage.journal.commitments import Commitments
from storage.journal.conflicts import Conflicts
from storage.journal.deliveries import Deliveries
from storage.journal.feedback import Feedback
from storage.journal.notifications import Notifications
from storage.journal.outcomes import Outcomes
from storage.journal.retention import Retention
from storage.journal.studies import Studies
from storage.journal.trials import Trials


class Journal(
    Arrivals,
    Studies,
    Outcomes,
    Deliveries,
    Notifications,
    Commitments,
    Conflicts,
    Feedback,
    Trials,
    Retention,
    ClockSteps,
):
    """The state of every study, and the methods that change it.

    `Journal(engine, fault)`: `engine` comes from `open_database`; `fault` is called with a name before and after each
    commit, so that a test can crash there.
    """
