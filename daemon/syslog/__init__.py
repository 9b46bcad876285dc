"""The audit trail on its way to a syslog server, as DICOM audit messages (PS3.15 A.5 to A.7)."""
