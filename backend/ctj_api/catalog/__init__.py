"""What a database starts with: the catalog, and demo data."""
