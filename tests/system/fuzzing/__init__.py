"""The kinds of input of `tests/system/fuzz.py` that are no objects, a module for each."""
