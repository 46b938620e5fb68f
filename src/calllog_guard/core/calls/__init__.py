"""From a call event to its sealed legs."""
