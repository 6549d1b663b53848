-- Version 1. Times are unix seconds. Statements are separated by a semicolon at the end of a line.

-- One chain of one terminal.
CREATE TABLE stream (
    id INTEGER PRIMARY KEY,
    fleet TEXT NOT NULL,
    terminal TEXT NOT NULL,
    chain BLOB NOT NULL,
    duplicates INTEGER NOT NULL DEFAULT 0,
    UNIQUE (chain, terminal, fleet)
);

-- Authentic tokens: signature, key and stream were right. What they may buy is in verdict and redeemable.
CREATE TABLE tap (
    id INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL REFERENCES stream (id),
    seq INTEGER NOT NULL,
    token BLOB NOT NULL,
    verdict TEXT NOT NULL,
    late INTEGER GENERATED ALWAYS AS (verdict = 'late') VIRTUAL,
    redeemable INTEGER NOT NULL,
    redeemed_at REAL,
    received_at REAL NOT NULL,
    kid BLOB NOT NULL,
    iat INTEGER NOT NULL,
    exp INTEGER NOT NULL,
    clk INTEGER NOT NULL,
    boot BLOB NOT NULL,
    up INTEGER NOT NULL,
    prev BLOB NOT NULL,
    mode INTEGER NOT NULL,
    nonce BLOB,
    sub BLOB,
    campaign TEXT,
    test INTEGER NOT NULL,
    UNIQUE (stream, seq)
);

-- Only what can still be bought is looked up by nonce.
CREATE INDEX tap_nonce ON tap (nonce) WHERE redeemable = 1 AND nonce IS NOT NULL;

-- The stored seqs of a stream as disjoint ranges that never adjoin; written in the transaction of their rows.
CREATE TABLE island (
    stream INTEGER NOT NULL REFERENCES stream (id),
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (stream, first)
) WITHOUT ROWID;

-- Bounded for each verdict, so that a flood of noise never pushes out the proof of a clone.
CREATE TABLE evidence (
    id INTEGER PRIMARY KEY,
    verdict TEXT NOT NULL,
    digest BLOB NOT NULL,
    topic TEXT NOT NULL,
    reason TEXT NOT NULL,
    size INTEGER NOT NULL,
    payload BLOB NOT NULL,
    first_at REAL NOT NULL,
    last_at REAL NOT NULL,
    times INTEGER NOT NULL DEFAULT 1,
    UNIQUE (verdict, digest)
);

CREATE INDEX evidence_age ON evidence (verdict, id);

-- Counts that stay true after evidence was dropped.
CREATE TABLE refusal (
    verdict TEXT PRIMARY KEY,
    count INTEGER NOT NULL
) WITHOUT ROWID;
