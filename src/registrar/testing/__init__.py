"""What embedders need to test against Registrar: a store's conformance suite, a clock and randomness to hold still."""
