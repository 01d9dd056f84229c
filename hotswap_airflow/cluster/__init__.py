"""Work with a cluster: transports carry commands, the client knows the commands, the watcher polls all jobs at once."""
