"""How a policy changes: published versions, their differences, and what is grave."""
