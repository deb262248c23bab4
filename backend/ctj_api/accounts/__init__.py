"""Who somebody is: sign-in, its limits, passwords, sessions and mail."""
