"""How the admin writes dates, in the folders that Django looks for."""
