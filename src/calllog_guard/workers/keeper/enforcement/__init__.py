"""What the keeper does for a decision, and what it says of it."""
