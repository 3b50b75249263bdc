"""The only code that owns sockets: an HTTP/1.1 server and a small client on asyncio and httptools."""
