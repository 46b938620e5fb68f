"""The secrets of tenants and epochs."""
