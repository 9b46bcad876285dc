"""How any composite object is written: elements, modules, codes, copied elements, and the analysis that goes in."""
