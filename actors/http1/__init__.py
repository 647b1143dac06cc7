"""An HTTP/1.1 client (RFC 9112) for one known origin, at a quarter of the cost of a general client.

It has no redirects, cookies or retries: the caller interprets the responses.
"""
