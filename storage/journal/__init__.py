"""The journal: where every study stands. A restart is reading the journal; nothing else remembers anything.

    arrivals.py      received, knows, holds, record
    studies.py       settled, release_claims, unclaim, quarantine, release, discard, replay
    outcomes.py      analysed
    deliveries.py    due, next_due, sent, postpone, resume, retry
    commitments.py   storage commitment in both roles
    conflicts.py     take, discard_conflict
    retention.py     expired, counts

Every change is one transaction with its audit row. Every verb may be repeated after `DatabaseUnavailable`.
"""

from storage.journal.arrivals import Arrivals
from storage.journal.commitments import Commitments
from storage.journal.conflicts import Conflicts
from storage.journal.deliveries import Deliveries
from storage.journal.outcomes import Outcomes
from storage.journal.retention import Retention
from storage.journal.studies import Studies


class Journal(Arrivals, Studies, Outcomes, Deliveries, Commitments, Conflicts, Retention):
    """All that is known of every study, with the verbs that change it.

    `Journal(engine, fault)`: the engine of `open_database`; `fault` is called with a name before and after each commit
    (tests of crashes).
    """
