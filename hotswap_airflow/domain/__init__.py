"""The nouns that people keep: ids and values only, pure."""
