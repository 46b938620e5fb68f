"""One client library each, in files that bear its name."""
