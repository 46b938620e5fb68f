"""How platforms report calls: mappings that turn their messages into call events or notifications."""
