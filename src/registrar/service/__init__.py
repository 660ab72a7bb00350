"""The use cases: what the endpoints and the command line do, without HTTP and without SQL.

- `ports`: what the use cases need from outside, as Protocols.
- `registry`: the issuers in force and what every use case is given.
- `admission`: who may register (RFC 7591 §3).
- `registration`: RFC 7591 §3. `management`: RFC 7592 §2.
- `issuance`: minting, sealing and opening of credentials.
- `administration`: what an operator does.
- `audit`: composing and recording events.
- `keys`: the signing keys of the issuers.
"""
