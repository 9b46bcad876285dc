"""Training of a network that outlines structures, on pictures with masks, and what it is worth."""
