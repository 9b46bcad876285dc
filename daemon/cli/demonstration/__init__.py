"""`hilum demo` and `hilum phantom`: the whole job on this machine, and the radiographs that are drawn for it."""
