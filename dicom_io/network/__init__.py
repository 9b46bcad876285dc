"""PS3.7, PS3.8 and PS3.15: associations, PDUs, messages, TLS. Only these modules use the internals of pynetdicom."""
