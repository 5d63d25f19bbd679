"""Turns messages of all sources into rows: decode, handle, plan, write."""
