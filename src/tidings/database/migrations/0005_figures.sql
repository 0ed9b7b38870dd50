-- What figures are made of besides counters. Nothing here may depend on what a claim changes (state, lease, attempts): on PostgreSQL a claim
-- would then have to write every index of the row anew.

-- what has come to its end without being sent
DROP INDEX communications_failed;
CREATE INDEX communications_failed ON communications (tenant_id, created_at) WHERE sent_at IS NULL AND due_at IS NULL;
-- opened, but not known as sent: a resend, or a provider that did not answer; there are never many
CREATE INDEX communications_unsent_opened ON communications (tenant_id, created_at) WHERE sent_at IS NULL AND opened_at IS NOT NULL;
