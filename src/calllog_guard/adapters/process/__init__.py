"""The process itself: its memory, and its end."""
