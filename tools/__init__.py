"""Programs that keep the repository's own files in step."""
