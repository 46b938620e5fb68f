"""Who may do what: the table of rights, and the rules of Redis and of a KMS that are made of it."""
