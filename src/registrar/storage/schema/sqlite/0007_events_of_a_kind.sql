-- adds: events of a kind are found however many registrations there are, which write none of this.

CREATE INDEX event_of_kind ON event (kind, sequence) WHERE kind <> 'client.registered';
