"""What officers say in signed claims: losses accepted, expiry confirmed, retention prolonged."""
