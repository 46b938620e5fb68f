"""Keeps the index of a partition and carries decisions out."""
