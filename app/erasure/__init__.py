"""Erase all that the hub stores about one person, in every place that may name them."""
