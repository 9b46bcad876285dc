"""Training: recipes, networks, folds, and the fitting of calibration and gate. Nothing that serves imports this."""
