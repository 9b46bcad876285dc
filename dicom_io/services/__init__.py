"""The service classes of PS3.4 that hilum supports, as user (SCU) and as provider (SCP)."""
