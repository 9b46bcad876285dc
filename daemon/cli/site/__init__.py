"""What a site says of the model's results, and what it makes of that."""
