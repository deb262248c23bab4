"""Who goes together: volunteers and opportunities, ranked."""
