"""Who is one person, and identifiers in a file."""
