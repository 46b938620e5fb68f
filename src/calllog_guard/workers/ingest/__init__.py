"""The ingest: platforms' messages become events and moments."""
