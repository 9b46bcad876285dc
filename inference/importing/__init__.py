"""Bundles made of other people's models: read, checked, downloaded."""
