"""What the platform keeps: the database and what is read out of it, and the files of payloads."""
