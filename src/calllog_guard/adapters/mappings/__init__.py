"""Mappings of platforms' messages, shipped or own, files of such messages, and the file that names their sources."""
