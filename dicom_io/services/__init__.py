"""PS3.4: the service classes that hilum speaks, as user (SCU) and as provider (SCP)."""
