"""The API: its operations, the document that describes them, and what each does with a request."""
