"""The sessions: joins and leaves become stays, each told as a call event."""
