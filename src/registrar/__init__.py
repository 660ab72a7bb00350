"""Registrar: the registration authority for OAuth clients (RFC 7591, RFC 7592, RFC 8414)."""

__version__ = "0.1.0"

__all__ = ["__version__"]
