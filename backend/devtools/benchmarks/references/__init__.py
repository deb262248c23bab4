"""What the project is measured against: the same work, done in the usual way, or with nothing in between."""
