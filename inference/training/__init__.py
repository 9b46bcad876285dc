"""Training networks, and fitting calibration and gate. Modules that serve never import this package."""
