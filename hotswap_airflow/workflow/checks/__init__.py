"""One module per topic. A module judges its topic in a file and, if the plan needs it, resolves the topic."""
