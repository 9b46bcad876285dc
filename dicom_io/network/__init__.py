"""PS3.7, PS3.8 and PS3.15: associations, PDUs, messages, TLS. The only place that knows pynetdicom's insides."""
