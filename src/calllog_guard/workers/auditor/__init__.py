"""Keeps compaction running and observes absence from outside."""
