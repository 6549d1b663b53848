"""The CDDL (RFC 8610) of everything binary in the contract."""

TEXT = """\
; The tap contract, version 1: tap token, checkpoint, gap record, batch (RFC 8610).
; All of it is deterministic CBOR (RFC 8949, 4.2.1): shortest heads, definite lengths, map keys in bytewise order
; of their encoding, none twice; no floats, no undefined, no tags but the outer 18; at most 8 nested containers.
; What CDDL cannot say stands in docs/contract.md: the size limit of 248 bytes, exp - iat, and the external_aad.

contract = tap-token / checkpoint / gap-record

tap-token  = #6.18([protected: header, unprotected: {}, payload: bstr .cbor tap-claims, signature: signature])
checkpoint = #6.18([protected: header, unprotected: {}, payload: bstr .cbor checkpoint-claims, signature: signature])
gap-record = #6.18([protected: header, unprotected: {}, payload: bstr .cbor gap-claims, signature: signature])

; evt/batch is a CBOR sequence (RFC 8742) of 1 to 64 tap tokens, at most 16384 bytes.
tap-batch = bstr .cborseq [1*64 tap-token]

header = bstr .cbor { 1: alg, 4: kid }
alg = -8 / -7                       ; EdDSA with Ed25519 / ES256
kid = bstr .size 8                  ; first 8 bytes of the SHA-256 COSE Key Thumbprint (RFC 9679)
signature = bstr .size 64           ; ES256: r and s, 32 bytes each

tap-claims = {
  1: name,                          ; iss: the terminal
  4: seconds,                       ; exp: iat to iat + 120; equal to iat while clk is 0
  6: seconds,                       ; iat
  7: bstr .size 16,                 ; cti: chain id (8), seq (8, big-endian, from 1)
  ? 10: bstr .size (8..16),         ; eat_nonce: in modes 1 and 2, and only there
  -65537: tap,
  * label => any                    ; unknown claims are ignored
}

tap = {
  1: link,                          ; prev: hash of the token before; zeros at seq 1
  2: 1 / 2 / 3,                     ; mode: phone app, tag read, plain card
  3: clock,                         ; clk
  4: bstr .size 8,                  ; boot: first 8 bytes of the kernel's boot id
  5: seconds,                       ; up: since boot
  ? 6: tstr .size (1..16),          ; campaign: bytes, not characters
  ? 7: bstr .size (8..12),          ; sub: pseudonym
  ? 8: 0..65535,                    ; rtt: milliseconds
  ? 9: 0..255,                      ; wtx: waiting-time extensions
  ? 10: true,                       ; test
  * label => any
}

checkpoint-claims = {
  1: name,
  6: seconds,
  -65538: {
    1: chain,
    2: seq,
    3: link,                        ; head: hash of the token of this seq
    4: clock,
    * label => any
  },
  * label => any
}

gap-claims = {
  1: name,
  6: seconds,
  -65539: {
    1: chain,
    2: seq,                         ; from
    3: seq,                         ; to: not before from
    4: link,                        ; prev of from
    5: link,                        ; hash of to
    6: tstr .regexp "[a-z0-9_-]{1,24}",
    * label => any
  },
  * label => any
}

name = tstr .regexp "[a-z0-9-]{1,24}"
seconds = 0..4294967295
clock = 0 / 1 / 2                   ; unset, holdover, synced
chain = bstr .size 8
seq = 1..18446744073709551615
link = bstr .size 16                ; first 16 bytes of SHA-256 over a whole token
label = int / tstr
"""
