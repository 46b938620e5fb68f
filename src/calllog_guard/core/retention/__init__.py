"""Why data is kept, and until when."""
