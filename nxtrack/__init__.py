"""Tracks decision models: captures solver runs on the local disk and delivers each to Nextmv Cloud, once."""
