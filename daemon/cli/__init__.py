"""The command `hilum`: one module for each group of commands, and the modules that these share."""
