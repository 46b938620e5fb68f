"""Pages and texts for human eyes: Jinja2 templates over core values."""
