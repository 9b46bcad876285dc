"""`hilum predict`: what is looked at, and what is shown of it."""
