"""The middle of the line: which model sees an image, what it makes of it, and who is told what."""
