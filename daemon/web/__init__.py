"""HTTP: the interface for programs, and metrics."""
