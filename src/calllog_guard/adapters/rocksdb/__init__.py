"""Indexes on disk in RocksDB."""
