"""Secrets, sealed entries and sealed legs."""
