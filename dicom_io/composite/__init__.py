"""What all result objects are built from: elements, modules, codes, copied elements, and the analysis itself."""
