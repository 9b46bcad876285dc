"""Drawn radiographs for demonstration and tests; nothing that serves a hospital imports this."""
