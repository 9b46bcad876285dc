"""The queries of administrators. They need neither a model nor a DICOM library, and return times as ISO 8601 text.

studies.py       studies, study_detail, events, quarantined, conflicts, images, deliveries
analyses.py      results, analyses
rows.py          what both share: filters, and rows as they are handed out
"""

from storage.queries.studies import StudyQueries as Queries

__all__ = ["Queries"]
