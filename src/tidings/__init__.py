"""Tidings: a self-hosted server for talking to customers by email and SMS."""

__version__ = "0.1.0"
