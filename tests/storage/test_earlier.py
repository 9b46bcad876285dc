"""What the journal says of earlier results: when they were made, of which model, and whether a header changed since."""
