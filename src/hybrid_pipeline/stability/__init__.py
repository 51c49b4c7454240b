"""Original against corrected settings, trained and compared."""
