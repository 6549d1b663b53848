-- Version 3: tickets that phones redeemed. Their second witness is in tap (mode 2, the ticket's nonce, its terminal).

-- One row for each ticket that somebody may have a reward of; written once, and again when the terminal's report is
-- looked at first. outcome: granted, granted_on_quota, pending. matched_at: received_at of that report.
CREATE TABLE ticket (
    kid BLOB NOT NULL,
    nonce BLOB NOT NULL,
    fleet TEXT NOT NULL,
    terminal TEXT NOT NULL,
    who TEXT NOT NULL,
    asked_at REAL NOT NULL,
    outcome TEXT NOT NULL,
    matched_at REAL,
    PRIMARY KEY (nonce, kid)
) WITHOUT ROWID;

CREATE INDEX ticket_on_quota ON ticket (terminal, fleet, asked_at)
WHERE outcome = 'granted_on_quota' AND matched_at IS NULL;

CREATE INDEX ticket_pending ON ticket (asked_at) WHERE outcome = 'pending';

CREATE INDEX tap_tag_read ON tap (nonce) WHERE mode = 2;

-- A process of an older version that has had this file open since before knows no tickets: it would spend the read, too.
CREATE TRIGGER tag_read_is_not_spent BEFORE UPDATE OF redeemed_at ON tap WHEN NEW.mode = 2
BEGIN
    SELECT RAISE(ABORT, 'a read of the tag is redeemed by its ticket: restart what still runs an older version');
END;
