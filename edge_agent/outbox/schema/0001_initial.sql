-- Schema 1 of the outbox. Runs once, inside the transaction that also sets user_version; page_size is 1024.
-- The rows are the only truth about what was issued: one tap writes one row and nothing else. All other tables are
-- brought up to date in batches; whatever they have not heard of yet is sent again, and the receiver knows it already.
-- auto_vacuum stays off on purpose: its pointer pages would cost a write per tap, and pages once won are a reserve.

-- One chain for each life of a database; a quarantined database's rows come back under their own chain (state 1).
CREATE TABLE chains (
  number       INTEGER PRIMARY KEY CHECK (number BETWEEN 1 AND 4194303),
  id           BLOB    NOT NULL UNIQUE CHECK (length(id) = 8),
  state        INTEGER NOT NULL CHECK (state IN (0, 1)),        -- 0 current, 1 old
  created_unix INTEGER NOT NULL,                                -- for people; nothing is decided by it
  first_seq    INTEGER NOT NULL CHECK (first_seq >= 1),         -- every row below is gone
  next_seq     INTEGER NOT NULL CHECK (next_seq >= first_seq),  -- at least; the highest row may say more
  head         BLOB    NOT NULL CHECK (length(head) = 16)       -- hash of the token at next_seq - 1
) STRICT;

CREATE UNIQUE INDEX one_current_chain ON chains (state) WHERE state = 0;

-- key = chains.number << 40 | seq: one integer, so that appends only touch the right-most page of the tree.
CREATE TABLE rows (
  key   INTEGER PRIMARY KEY,
  exp   INTEGER NOT NULL,                                       -- unix seconds, as in the token
  token BLOB    NOT NULL CHECK (length(token) BETWEEN 1 AND 1024)
) STRICT;

-- Rows that are not pending, as ranges: confirming 4,096 rows writes one line here and leaves their pages alone.
CREATE TABLE spans (
  chain INTEGER NOT NULL,
  first INTEGER NOT NULL CHECK (first >= 1),
  last  INTEGER NOT NULL CHECK (last >= first),
  state INTEGER NOT NULL CHECK (state BETWEEN 1 AND 4),         -- 1 sent, 2 stored (may be deleted), 3 parked, 4 gone
  at    REAL    NOT NULL,                                       -- sent: operating seconds, see meta.operated_s
  note  TEXT    NOT NULL,                                       -- parked: the reason
  PRIMARY KEY (chain, first)
) STRICT, WITHOUT ROWID;

-- Signed gap records: rows that were given up. Kept until an ack covers them, or for the retention after the PUBACK.
CREATE TABLE records (
  number  INTEGER PRIMARY KEY,
  chain   INTEGER NOT NULL,
  kind    TEXT    NOT NULL CHECK (kind IN ('chk', 'gap')),
  first   INTEGER NOT NULL,
  last    INTEGER NOT NULL CHECK (last >= first),
  sent_at REAL,                                                 -- operating seconds of the PUBACK; NULL is pending
  token   BLOB    NOT NULL
) STRICT;

-- evicted: rows given up undelivered, in all.
-- operated_s: seconds that this database has been open, over all restarts (REAL). The clock that retention goes by.
-- wall_unix, wall_boot, wall_up: the last good wall time, for holdover after a boot without a clock.
CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value ANY NOT NULL
) STRICT, WITHOUT ROWID;
