"""Fitting a site's own calibration of a bundle to what its readers say."""
