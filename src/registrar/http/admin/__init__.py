"""The administration API: what operators do, under `/admin/api` of each issuer, with tokens of the kind `operator`.

One table of routes. Each calls the use case that the command line calls, so that what is refused there is refused here
and told in the same words. It is off unless the issuer's settings say `admin_api = true`.
"""

from registrar.http.admin.call import Row
from registrar.http.admin.routes import METHODS, ROUTES
from registrar.http.admin.serving import PREFIX, serve

__all__ = ["METHODS", "PREFIX", "ROUTES", "Row", "serve"]
