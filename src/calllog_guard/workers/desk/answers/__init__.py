"""What people, recipients and authorities are told."""
