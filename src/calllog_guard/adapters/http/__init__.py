"""Pages that are served, and pages that are asked."""
