"""The judge of network addresses, and the HTTP transport that dials judged addresses only."""
