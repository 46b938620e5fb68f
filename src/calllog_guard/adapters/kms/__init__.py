"""Wrapping keys: local files, AWS KMS, Vault or OpenBao."""
