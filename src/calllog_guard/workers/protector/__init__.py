"""From a call event to sealed legs."""
