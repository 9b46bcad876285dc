"""How long a database of an earlier version takes to come to the schema of today.

    python benchmarks/migration.py [--studies 100000] [--object-bytes 3000] [--database URL]

The database is filled as the version before analyses had rows of their own left it: two analyses of each study, with a
result object each. --database is the URL of an empty PostgreSQL database; by default it is SQLite in a new folder.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from storage.database import open_database, writing
from tests.support.old_database import at_revision, fill_0007


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=100_000)
    parser.add_argument("--object-bytes", type=int, default=3000)
    parser.add_argument("--database", default="")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hilum-migration-") as directory:
        old = at_revision(arguments.database, Path(directory), "0007")
        with writing(old) as connection:
            fill_0007(connection, arguments.studies, arguments.object_bytes)
        old.dispose()
        began = time.monotonic()
        open_database(arguments.database, Path(directory)).dispose()
        print(f"{arguments.studies} studies were migrated in {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
