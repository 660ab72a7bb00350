"""Facts and grammar, in the words of RFC 7591, RFC 7592 and RFC 8414.

Pure: nothing here reads a clock, draws a random number, awaits, or touches a file or a socket.

- `metadata`: the one table of client metadata members, and the parser that reads it.
- `server_metadata`: the one table of what this server offers, read by discovery and by the judge alike.
- `coherence`: what must hold between members of a registration once everything has been decided.
- `redirect_uri`, `jwks`: the two members with a grammar of their own.
- `findings`: rules, and the verdicts that they give; an error, an audit event and an explanation are made of these.
- `credentials`: the form, digest and sealing of identifiers, secrets and tokens.
- `client`, `access_token`: what is remembered.
- `errors`, `events`, `settings`: three tables more, each read by the code, the documentation and the tests.
"""
