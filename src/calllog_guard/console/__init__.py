"""The officers' pages: they see, and pass on what officers have signed; nothing is decided here."""
