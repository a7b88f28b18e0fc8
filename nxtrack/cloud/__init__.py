"""Owns the way to the Nextmv Cloud API: credentials, the HTTP client, the platform's messages and its errors.

Nothing is imported here, so that the messages alone can be used without loading requests: take `Application`,
`Client` and `credentials` from the modules of those names.
"""
