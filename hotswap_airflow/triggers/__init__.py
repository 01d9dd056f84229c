"""Jobs wait here, in the triggerer, never in a worker."""
