"""Notes, jobs and heartbeats."""
