-- Version 2: gap records, checkpoints, tokens that are kept without being taps, and the true time of clk 0 taps.

-- What a terminal gave up, by its own signature; prev of first and hash of last keep the chain checkable.
CREATE TABLE gap (
    stream INTEGER NOT NULL REFERENCES stream (id),
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    prev BLOB NOT NULL,
    hash BLOB NOT NULL,
    reason TEXT NOT NULL,
    iat INTEGER NOT NULL,
    kid BLOB NOT NULL,
    record BLOB NOT NULL,
    received_at REAL NOT NULL,
    PRIMARY KEY (stream, first, last)
) WITHOUT ROWID;

CREATE INDEX gap_last ON gap (stream, last);

-- The farthest checkpoint of each stream.
CREATE TABLE checkpoint (
    stream INTEGER PRIMARY KEY REFERENCES stream (id),
    seq INTEGER NOT NULL,
    head BLOB NOT NULL,
    clk INTEGER NOT NULL,
    iat INTEGER NOT NULL,
    kid BLOB NOT NULL,
    record BLOB NOT NULL,
    received_at REAL NOT NULL
);

-- Authentic tokens that are no taps (revoked_key): acknowledged, so kept whole, the newest of each key; their seqs are
-- in island, too.
CREATE TABLE withheld (
    id INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL REFERENCES stream (id),
    seq INTEGER NOT NULL,
    token BLOB NOT NULL,
    verdict TEXT NOT NULL,
    kid BLOB NOT NULL,
    iat INTEGER NOT NULL,
    prev BLOB NOT NULL,
    received_at REAL NOT NULL,
    UNIQUE (stream, seq)
);

CREATE INDEX withheld_age ON withheld (kid, id);

-- Seqs of withheld tokens whose bytes had to make room: ranges like those of island.
CREATE TABLE let_go (
    stream INTEGER NOT NULL REFERENCES stream (id),
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (stream, first)
) WITHOUT ROWID;

-- When a boot of a terminal began, by its first token with clk 2 that was stored: iat - up.
CREATE TABLE boot (
    fleet TEXT NOT NULL,
    terminal TEXT NOT NULL,
    boot BLOB NOT NULL,
    began_at INTEGER NOT NULL,
    PRIMARY KEY (terminal, boot, fleet)
) WITHOUT ROWID;

-- The true time of a tap with clk 0: began_at + up. It is evidence; it never makes a tap redeemable.
ALTER TABLE tap ADD COLUMN rebased_at INTEGER;

CREATE INDEX tap_unset ON tap (stream, boot) WHERE clk = 0 AND rebased_at IS NULL;

CREATE INDEX stream_terminal ON stream (terminal, fleet);

INSERT INTO boot (fleet, terminal, boot, began_at)
SELECT fleet, terminal, boot, MIN(iat - up) FROM tap JOIN stream ON stream.id = tap.stream
WHERE clk = 2 AND boot IN (SELECT boot FROM tap WHERE clk = 0) GROUP BY fleet, terminal, boot;

UPDATE tap SET rebased_at = up + (
    SELECT began_at FROM boot JOIN stream ON stream.terminal = boot.terminal AND stream.fleet = boot.fleet
    WHERE stream.id = tap.stream AND boot.boot = tap.boot
) WHERE clk = 0;
