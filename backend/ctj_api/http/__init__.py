"""How a request is read and an answer written."""
