"""From a file to what a radiologist sees: header, selection, pixels."""
