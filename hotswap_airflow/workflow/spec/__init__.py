"""The shape of workflow and site files: keys, types, references, vocabulary."""
