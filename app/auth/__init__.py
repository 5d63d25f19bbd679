"""Who may do what: tokens, revocations, secrets, origins."""
