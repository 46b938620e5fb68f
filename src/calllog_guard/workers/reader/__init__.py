"""Reading for a purpose: once, or for as long as it likes."""
