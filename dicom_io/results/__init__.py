"""What hilum makes of an analysis: one module for each kind of result object."""
