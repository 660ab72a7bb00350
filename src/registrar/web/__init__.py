"""What people see: sign-in, consent, the applications that have access, errors. Server-rendered, without JavaScript.

Pages are made from values and show them; what is decided is decided in `authorization`.
"""
