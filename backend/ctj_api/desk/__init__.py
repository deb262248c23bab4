"""The parts of the admin."""
