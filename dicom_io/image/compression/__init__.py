"""Compressed frames: what their own headers say, and their decoders."""
