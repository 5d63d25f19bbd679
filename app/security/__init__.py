"""Who may come in: tokens, their state, and the origins a browser may come from."""
