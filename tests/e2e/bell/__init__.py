"""The bell in headless Chromium."""
