"""Fakes of the ports, for fast tests."""
