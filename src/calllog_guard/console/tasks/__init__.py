"""What an officer does in the console beside deciding a case."""
