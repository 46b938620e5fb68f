"""Secrets, sealed entries, sealed legs, JOSE."""
