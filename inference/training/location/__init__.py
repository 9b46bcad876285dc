"""Fitting the rule by which a bundle gives the place of a finding, on boxes or on drawn lesions."""
