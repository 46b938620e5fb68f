"""What becomes of legs whose last purpose has lapsed."""
