/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames on the screen line: COBS, delimiter 00, CRC-16/CCITT-FALSE (docs/screen-link.md, "Frame").
 *
 *     COBS( version u8 = 1 | type u8 | seq u8 | payload 0-120 bytes | CRC u16 )  00
 *
 * C99, no library, no dynamic memory, no recursion, no floating point; the same on any byte order.
 */
#ifndef TAP_FRAMES_H
#define TAP_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TAP_VERSION 1u
#define TAP_MAX_PAYLOAD 120u
/* Bytes between two delimiters: version, type, seq, payload, CRC, and the one byte that COBS adds. */
#define TAP_MAX_ENCODED (3u + TAP_MAX_PAYLOAD + 2u + 1u)
/* A whole frame on the line, delimiter included. */
#define TAP_MAX_LINE (TAP_MAX_ENCODED + 1u)

/* One frame whose CRC was right. payload points into the decoder and lasts until its next byte. */
struct tap_frame {
    const uint8_t *payload;
    uint8_t length;
    uint8_t version;
    uint8_t type;
    uint8_t seq;
};

/* Keeps at most one frame: what does not fit before the next delimiter is thrown away. */
struct tap_decoder {
    uint8_t bytes[TAP_MAX_ENCODED];
    uint8_t length;
    bool skipping;
    /* Runs of bytes that were no frame, for the maker's own diagnosis; stays at 65535. */
    uint16_t errors;
};

/* CRC-16/CCITT-FALSE: polynomial 0x1021, start 0xFFFF; 0x29B1 over "123456789". Over data and its CRC it is 0. */
uint16_t tap_crc16(const uint8_t *data, size_t length);

/* Write a whole frame into line, return its length; 0 when the payload is longer than TAP_MAX_PAYLOAD. */
size_t tap_frame_encode(uint8_t line[TAP_MAX_LINE], uint8_t type, uint8_t seq, const uint8_t *payload, size_t length);

void tap_decoder_init(struct tap_decoder *decoder);

/* Take one byte of the line. True when it ended a frame, which is then in *frame. */
bool tap_decoder_byte(struct tap_decoder *decoder, uint8_t byte, struct tap_frame *frame);

#endif
