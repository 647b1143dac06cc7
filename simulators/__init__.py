"""Simulated endpoints and sources: processes that tests and demos reach over HTTP.

Anything may start them through `process`; they import nothing of the product.
"""
