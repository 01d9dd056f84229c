"""Talk to a cluster: transports carry commands, the client knows which, the watcher asks for all jobs at once."""
