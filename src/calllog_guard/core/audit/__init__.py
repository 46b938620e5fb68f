"""What is shown of the past: absence, accesses, statements and reports of a month."""
