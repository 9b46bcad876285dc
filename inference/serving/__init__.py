"""Turning pictures into predictions: the classifier with its engines, gate, calibration and locations."""
