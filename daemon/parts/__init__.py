"""The parts of `hilum serve`, each a process of its own, and `serve`, the parent that starts them."""
