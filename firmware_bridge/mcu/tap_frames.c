/* SPDX-License-Identifier: Apache-2.0 */
#include "tap_frames.h"

#define HEAD 3u
#define CRC 2u
#define MIN_BODY (HEAD + CRC)

uint16_t tap_crc16(const uint8_t *data, size_t length)
{
    uint16_t crc = 0xFFFFu;
    for (size_t at = 0; at < length; at++) {
        /* Eight steps of the shift register at once: what bit n of the sum feeds back, worked out on paper. */
        uint16_t sum = (uint16_t)((crc >> 8) ^ data[at]);
        sum = (uint16_t)(sum ^ (sum >> 4));
        crc = (uint16_t)(((uint32_t)crc << 8) ^ ((uint32_t)sum << 12) ^ ((uint32_t)sum << 5) ^ sum);
    }
    return crc;
}

size_t tap_frame_encode(uint8_t line[TAP_MAX_LINE], uint8_t type, uint8_t seq, const uint8_t *payload, size_t length)
{
    if (length > TAP_MAX_PAYLOAD) {
        return 0;
    }
    /* The body stands one byte into the line: the first COBS code comes before it. */
    uint8_t *body = &line[1];
    size_t size = HEAD + length;
    body[0] = TAP_VERSION;
    body[1] = type;
    body[2] = seq;
    for (size_t at = 0; at < length; at++) {
        body[HEAD + at] = payload[at];
    }
    uint16_t crc = tap_crc16(body, size);
    body[size] = (uint8_t)(crc >> 8);
    body[size + 1u] = (uint8_t)(crc & 0xFFu);
    size += CRC;

    /* COBS in place, from the end: each 00 becomes the distance to the next one. A distance is at most 126. */
    uint8_t distance = 1;
    for (size_t at = size; at > 0; at--) {
        if (line[at] == 0) {
            line[at] = distance;
            distance = 0;
        }
        distance++;
    }
    line[0] = distance;
    line[size + 1u] = 0;
    return size + 2u;
}

void tap_decoder_init(struct tap_decoder *decoder)
{
    decoder->length = 0;
    decoder->skipping = false;
    decoder->errors = 0;
}

static void count_error(struct tap_decoder *decoder)
{
    if (decoder->errors < 0xFFFFu) {
        decoder->errors++;
    }
}

/* Undo COBS in place: each code becomes the 00 that it stands for, and the body begins behind the first. */
static bool undo_cobs(uint8_t *bytes, size_t length)
{
    size_t at = 0;
    while (at < length) {
        size_t distance = bytes[at];
        bytes[at] = 0;
        at += distance;
    }
    return at == length;
}

bool tap_decoder_byte(struct tap_decoder *decoder, uint8_t byte, struct tap_frame *frame)
{
    if (byte != 0) {
        if (decoder->skipping) {
            return false;
        }
        if (decoder->length == TAP_MAX_ENCODED) {
            decoder->skipping = true;
            count_error(decoder);
            return false;
        }
        decoder->bytes[decoder->length] = byte;
        decoder->length++;
        return false;
    }
    size_t length = decoder->length;
    bool whole = !decoder->skipping;
    decoder->length = 0;
    decoder->skipping = false;
    if (!whole || length == 0) {
        return false;
    }
    const uint8_t *body = &decoder->bytes[1];
    size_t size = length - 1u;
    if (!undo_cobs(decoder->bytes, length) || size < MIN_BODY || tap_crc16(body, size) != 0) {
        count_error(decoder);
        return false;
    }
    frame->version = body[0];
    frame->type = body[1];
    frame->seq = body[2];
    frame->payload = &body[HEAD];
    frame->length = (uint8_t)(size - MIN_BODY);
    return true;
}
