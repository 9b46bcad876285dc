"""The errors that the storage package raises.

StorageError
+-- SpoolError
|   +-- SpoolUnavailable     disk full, read-only or broken: the same call may succeed later
|   +-- SpoolDamaged         a spooled object is missing or was altered
|   +-- UnsafeName           a name that would leave the spool
+-- DatabaseError
|   +-- DatabaseUnavailable  locked, full or gone: the same call may succeed later
|   +-- DatabaseTooNew       written by a later version of hilum
+-- JournalError
    +-- UnknownStudy         no such study in the journal
    +-- UnknownConflict      no such conflict in the journal
    +-- UnknownSubject       there is no such result that a verdict could be about
    +-- BadVerdict           what was said is no verdict
    +-- WrongState           the study is in a state in which this cannot be done
"""


class StorageError(Exception):
    """Base of all errors of this package."""


class SpoolError(StorageError):
    """A problem with the files of received objects."""


class SpoolUnavailable(SpoolError):
    """The disk is full, read-only or broken. No half-written file remains, and the same call may succeed later."""


class SpoolDamaged(SpoolError):
    """A spooled object is missing, or its bytes differ from those that were received."""


class UnsafeName(SpoolError, ValueError):
    """A name that the spool did not make, so its path might lead out of the spool."""


class DatabaseError(StorageError):
    """A problem with the database itself."""


class DatabaseUnavailable(DatabaseError):
    """The database is locked, full or gone.

    If it was raised during a commit, nobody knows whether the commit took effect. Every method of the journal may be
    called again with the same arguments.
    """


class DatabaseTooNew(DatabaseError):
    """The schema was written by a later version of hilum."""


class JournalError(StorageError):
    """A request that the journal cannot carry out."""


class UnknownStudy(JournalError, LookupError):
    """No study with this Study Instance UID was ever received."""


class UnknownConflict(JournalError, LookupError):
    """No conflict has this number."""


class UnknownSubject(JournalError, LookupError):
    """There is no such result that a verdict could be about."""


class BadVerdict(JournalError, ValueError):
    """What was said is no verdict."""


class WrongState(JournalError):
    """The study is in a state in which this cannot be done."""
