"""Sends the audit trail to a syslog server, as DICOM audit messages (PS3.15 A.5 to A.7)."""
