"""Making bundles out of models that others publish: downloading, reading and checking them."""
