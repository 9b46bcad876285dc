"""Drawn radiographs of nobody, for `hilum demo`, tests and benchmarks. `hilum serve` does not import this package."""
