"""From a message of any source to rows: decode, handle, plan, write."""
