"""A request as it arrives: its fields, its signature, its seal."""
