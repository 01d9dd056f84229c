"""What a cluster says about itself, read from the answers of its commands."""
