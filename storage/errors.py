"""Everything that the storage package raises.

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
    +-- WrongState           the study is not in a state that allows this
"""


class StorageError(Exception):
    """Base of all errors of this package."""


class SpoolError(StorageError):
    """Trouble with the files of received objects."""


class SpoolUnavailable(SpoolError):
    """The disk is full, read-only or broken. Nothing half-written remains; try again later."""


class SpoolDamaged(SpoolError):
    """A spooled object is missing, or its bytes are not those that were received."""


class UnsafeName(SpoolError, ValueError):
    """A name that the spool did not give out."""


class DatabaseError(StorageError):
    """Trouble with the database itself."""


class DatabaseUnavailable(DatabaseError):
    """The database is locked, full or gone.

    Whether a commit under way took effect is unknown; every verb of the journal may be repeated.
    """


class DatabaseTooNew(DatabaseError):
    """The schema was written by a later version of hilum."""


class JournalError(StorageError):
    """A request that the journal cannot carry out."""


class UnknownStudy(JournalError, LookupError):
    """No study with this Study Instance UID was ever received."""


class UnknownConflict(JournalError, LookupError):
    """No conflict has this number."""


class WrongState(JournalError):
    """The study is in a state that does not allow this."""
