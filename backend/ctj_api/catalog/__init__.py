"""What a database starts with, the catalog and demo data, and how the catalogs follow PeopleDepot."""
