-- adds: the items of one client or person are read in the order of their keys, from anywhere on, however many others there are.

DROP INDEX item_of_client;
DROP INDEX item_of_owner;
CREATE INDEX item_of_client ON item (issuer, client_id, kind, key) WHERE client_id <> '';
CREATE INDEX item_of_owner ON item (issuer, owner, kind, key) WHERE owner <> '';
