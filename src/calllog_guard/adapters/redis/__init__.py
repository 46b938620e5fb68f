"""The keystore in Redis."""
