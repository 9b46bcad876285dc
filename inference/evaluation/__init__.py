"""Evaluation: labelled pictures, figures of merit, and the pages that show them."""
