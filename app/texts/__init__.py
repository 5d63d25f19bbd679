"""What people read: translations, templates and their rendering."""
