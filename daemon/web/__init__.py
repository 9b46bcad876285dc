"""HTTP: the interface for other programs, and metrics."""
