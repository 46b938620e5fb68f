"""What is to be enforced about a person, and what came of it."""
