-- Who did not get a message of a campaign. Neither index has an entry for what goes its usual way, and neither makes a claim or a sending
-- dearer: a message that is planned is due until it is sent, and few walks are stopped.

-- what has come to its end unsent, of a campaign; ending with a state would make PostgreSQL write every index anew at each claim
CREATE INDEX communications_missed ON communications (tenant_id, campaign_id, message_id, id) WHERE sent_at IS NULL AND due_at IS NULL AND campaign_id IS NOT NULL;
CREATE INDEX enrollments_stopped ON enrollments (tenant_id, campaign_id, id) WHERE stopped_by IS NOT NULL;
