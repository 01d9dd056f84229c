"""The variables that scripts use, found without running them."""
