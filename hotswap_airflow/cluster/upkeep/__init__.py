"""The owners of jobs and folders on a cluster, and the folders that may be removed."""
