"""HTTP/1.1 as a client of one known origin needs it (RFC 9112), at a quarter of what a general client costs.

There are no redirects, cookies, proxies and retries here: who asks decides what an answer means.
"""
