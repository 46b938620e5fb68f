"""Webhooks: who signed them, and which sources an installation takes them from."""
