"""Commands for several models: which one an image is for, how two compare, and which one is in use."""
