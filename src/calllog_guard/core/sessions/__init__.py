"""Who was in a call, where platforms tell it moment by moment: pure."""
