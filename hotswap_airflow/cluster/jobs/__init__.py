"""One job from its request to its end."""
