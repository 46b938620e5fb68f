"""Persons and their keys."""
