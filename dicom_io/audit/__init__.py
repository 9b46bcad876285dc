"""PS3.15 A.5: audit trail messages."""
