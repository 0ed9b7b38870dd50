"""Telling others: what is due for an endpoint is put into words, signed, posted, tried again, and an endpoint that is dead switched off.

What is laid and what came of it is `domain.endpoints`' matter.
"""
