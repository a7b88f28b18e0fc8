"""Owns the way from the spool to the platform: claim, upload, post, reconcile, settle; each run effectively once."""
