-- What recipients seldom do, by communication: a report by domain looks for it beside everything that was sent.
CREATE INDEX interactions_answered ON interactions (tenant_id, communication_id, kind) WHERE kind IN ('complained', 'unsubscribed', 'replied');
