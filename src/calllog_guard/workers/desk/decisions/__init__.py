"""What is granted, and the decisions that it comes to."""
