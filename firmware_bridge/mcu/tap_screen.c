/* SPDX-License-Identifier: Apache-2.0 */
#include "tap_screen.h"

#define REPEAT_AFTER_MS 50u
#define REPEATS 3u
#define MAX_LEVEL 100u
/* The RAM that a maker must find. C99 has no static_assert: an array of -1 elements does not compile. */
#define MAX_RAM 512u
typedef char tap_screen_fits_its_ram[(sizeof(struct tap_screen) <= MAX_RAM) ? 1 : -1];

enum {
    HOST_HELLO = 0x01,
    HOST_CUE = 0x02,
    HOST_PING = 0x03,
    HOST_LEVEL = 0x04,
    HOST_ASK_STATUS = 0x05,
    HOST_RESET = 0x06,
    MCU_HELLO = 0x81,
    BOTH_ACK = 0x82,
    MCU_NAK = 0x83,
    MCU_STATUS = 0x84,
    MCU_EVENT = 0x85
};

enum { UNKNOWN_TYPE = 1, BAD_PAYLOAD = 2, VERSION = 3, UNKNOWN_CUE = 5, HELLO_FIRST = 6 };

enum { CUE_HEAD = 5, HELLO_HEAD = 5, LAST_CUE = TAP_CUE_QUIET };

static void copy(uint8_t *to, const uint8_t *from, size_t length)
{
    for (size_t at = 0; at < length; at++) {
        to[at] = from[at];
    }
}

static bool is_continuation(uint8_t byte)
{
    return (byte & 0xC0u) == 0x80u;
}

/* UTF-8 as RFC 3629, section 4 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
static bool is_utf8(const uint8_t *text, size_t length)
{
    size_t at = 0;
    while (at < length) {
        uint8_t lead = text[at];
        size_t more;
        at++;
        if (lead < 0x80u) {
            continue;
        }
        if (lead < 0xC2u || lead > 0xF4u) {
            return false;
        }
        more = (lead < 0xE0u) ? 1u : (lead < 0xF0u) ? 2u : 3u;
        if (more > length - at) {
            return false;
        }
        /* Four leads narrow the byte behind them. */
        if ((lead == 0xE0u && text[at] < 0xA0u) || (lead == 0xEDu && text[at] > 0x9Fu) ||
            (lead == 0xF0u && text[at] < 0x90u) || (lead == 0xF4u && text[at] > 0x8Fu)) {
            return false;
        }
        for (; more > 0; more--) {
            if (!is_continuation(text[at])) {
                return false;
            }
            at++;
        }
    }
    return true;
}

static void send_frame(const struct tap_screen *screen, uint8_t type, uint8_t seq, const uint8_t *payload,
                       size_t length)
{
    uint8_t line[TAP_MAX_LINE];
    size_t size = tap_frame_encode(line, type, seq, payload, length);
    screen->port->write(screen->port->context, line, size);
}

static void send_nak(const struct tap_screen *screen, uint8_t seq, uint8_t reason)
{
    const uint8_t payload[2] = {seq, reason};
    send_frame(screen, MCU_NAK, seq, payload, sizeof payload);
}

static void send_hello(const struct tap_screen *screen, uint8_t seq)
{
    const struct tap_identity *identity = screen->identity;
    uint8_t payload[HELLO_HEAD + TAP_MAX_SERIAL];
    size_t length = 0;
    payload[0] = TAP_VERSION;
    copy(&payload[1], identity->firmware, sizeof identity->firmware);
    payload[4] = identity->capabilities;
    while (length < TAP_MAX_SERIAL && identity->serial[length] != '\0') {
        payload[HELLO_HEAD + length] = (uint8_t)identity->serial[length];
        length++;
    }
    /* A serial number that is too long is cut at a character. */
    while (length > 0 && is_continuation((uint8_t)identity->serial[length])) {
        length--;
    }
    send_frame(screen, MCU_HELLO, seq, payload, HELLO_HEAD + length);
}

/* Answer the message that ran last: as often as the host asks, always the same. */
static void answer(const struct tap_screen *screen)
{
    send_frame(screen, BOTH_ACK, screen->ran_seq, &screen->ran_seq, 1);
    if (screen->ran_type == HOST_HELLO) {
        send_hello(screen, screen->ran_seq);
    } else if (screen->ran_type == HOST_ASK_STATUS) {
        send_frame(screen, MCU_STATUS, screen->ran_seq, screen->status, sizeof screen->status);
    }
}

static void take_status(struct tap_screen *screen, uint32_t now_ms)
{
    const struct tap_port *port = screen->port;
    uint16_t faults = port->faults(port->context);
    uint8_t *status = screen->status;
    status[0] = screen->picture.cue;
    status[1] = (uint8_t)(now_ms >> 24);
    status[2] = (uint8_t)((now_ms >> 16) & 0xFFu);
    status[3] = (uint8_t)((now_ms >> 8) & 0xFFu);
    status[4] = (uint8_t)(now_ms & 0xFFu);
    status[5] = (uint8_t)port->temperature(port->context);
    status[6] = (uint8_t)(faults >> 8);
    status[7] = (uint8_t)(faults & 0xFFu);
}

static void display(const struct tap_screen *screen)
{
    screen->port->display(screen->port->context, &screen->picture);
}

static void set_text(struct tap_picture *picture, const uint8_t *text, uint8_t length)
{
    for (size_t at = 0; at < length; at++) {
        picture->text[at] = (char)text[at];
    }
    picture->text[length] = '\0';
    picture->length = length;
}

static void show_static(struct tap_screen *screen, uint8_t cue)
{
    screen->timed = false;
    screen->picture.cue = cue;
    screen->picture.is_static = true;
    set_text(&screen->picture, NULL, 0);
    display(screen);
}

/* The NAK that a CUE deserves, or 0. Layout: cue u8 | ttl_ms u16 | level u8 | length u8 | text. */
static uint8_t check_cue(const struct tap_frame *frame)
{
    const uint8_t *payload = frame->payload;
    if (frame->length < CUE_HEAD || payload[4] > TAP_MAX_TEXT || frame->length != CUE_HEAD + payload[4]) {
        return BAD_PAYLOAD;
    }
    if ((payload[1] == 0 && payload[2] == 0) || payload[3] > MAX_LEVEL) {
        return BAD_PAYLOAD;
    }
    if (payload[0] < TAP_CUE_INVITE || payload[0] > LAST_CUE) {
        return UNKNOWN_CUE;
    }
    return is_utf8(&payload[CUE_HEAD], payload[4]) ? 0 : BAD_PAYLOAD;
}

/* The NAK that a frame deserves as it stands, or 0. A payload longer or shorter than laid down is refused. */
static uint8_t check(const struct tap_frame *frame)
{
    bool good;
    if (frame->version != TAP_VERSION) {
        return VERSION;
    }
    switch (frame->type) {
    case HOST_HELLO:
        /* Of a host that speaks another version, only the first byte is certain. */
        if (frame->length >= 1u && frame->payload[0] != TAP_VERSION) {
            return VERSION;
        }
        good = frame->length >= 1u && frame->length <= 1u + TAP_MAX_TERMINAL_ID &&
               is_utf8(&frame->payload[1], frame->length - 1u);
        break;
    case HOST_CUE:
        return check_cue(frame);
    case HOST_PING:
        good = frame->length == 4u;
        break;
    case HOST_LEVEL:
        good = frame->length == 1u && frame->payload[0] <= MAX_LEVEL;
        break;
    case HOST_ASK_STATUS:
    case HOST_RESET:
        good = frame->length == 0;
        break;
    case BOTH_ACK:
        good = frame->length == 1u;
        break;
    default:
        return UNKNOWN_TYPE;
    }
    return good ? 0 : BAD_PAYLOAD;
}

static void run(struct tap_screen *screen, const struct tap_frame *frame, uint32_t now_ms)
{
    const uint8_t *payload = frame->payload;
    switch (frame->type) {
    case HOST_HELLO:
        screen->greeted = true;
        break;
    case HOST_CUE:
        screen->timed = true;
        screen->shown_at = now_ms;
        screen->ttl_ms = (uint16_t)(((uint32_t)payload[1] << 8) | payload[2]);
        screen->picture.cue = payload[0];
        screen->picture.level = payload[3];
        screen->picture.is_static = false;
        set_text(&screen->picture, &payload[CUE_HEAD], payload[4]);
        display(screen);
        break;
    case HOST_LEVEL:
        screen->picture.level = payload[0];
        display(screen);
        break;
    case HOST_RESET:
        screen->port->restart(screen->port->context);
        break;
    default: /* PING and ASK_STATUS ask for the answer alone. */
        break;
    }
}

static void receive(struct tap_screen *screen, const struct tap_frame *frame, uint32_t now_ms)
{
    uint8_t reason = check(frame);
    if (reason != 0) {
        send_nak(screen, frame->seq, reason);
        return;
    }
    if (frame->type == BOTH_ACK) {
        if (frame->payload[0] == screen->report_seq) {
            screen->reporting = false;
        }
        return;
    }
    if (!screen->greeted && frame->type != HOST_HELLO) {
        send_nak(screen, frame->seq, HELLO_FIRST);
        return;
    }
    /* A repeat is answered as the first time and carried out never again. HELLO begins a new count. */
    if (frame->seq == screen->ran_seq && frame->type != HOST_HELLO) {
        answer(screen);
        return;
    }
    screen->ran_seq = frame->seq;
    screen->ran_type = frame->type;
    if (frame->type == HOST_ASK_STATUS) {
        take_status(screen, now_ms);
    }
    answer(screen);
    run(screen, frame, now_ms);
}

static void send_report(struct tap_screen *screen, uint32_t now_ms)
{
    screen->reported_at = now_ms;
    send_frame(screen, MCU_EVENT, screen->report_seq, screen->report.bytes, screen->report.length);
}

static void drop_oldest(struct tap_screen *screen)
{
    screen->waiting_count--;
    for (size_t at = 0; at < screen->waiting_count; at++) {
        screen->waiting[at] = screen->waiting[at + 1u];
    }
}

static void report_events(struct tap_screen *screen, uint32_t now_ms)
{
    if (screen->reporting && (uint32_t)(now_ms - screen->reported_at) >= REPEAT_AFTER_MS) {
        if (screen->repeats >= REPEATS) {
            screen->reporting = false;
        } else {
            screen->repeats++;
            send_report(screen, now_ms);
        }
    }
    if (!screen->reporting && screen->greeted && screen->waiting_count > 0) {
        screen->report = screen->waiting[0];
        drop_oldest(screen);
        screen->reporting = true;
        screen->repeats = 0;
        screen->report_seq++;
        send_report(screen, now_ms);
    }
}

void tap_screen_init(struct tap_screen *screen, const struct tap_port *port, const struct tap_identity *identity)
{
    screen->port = port;
    screen->identity = identity;
    tap_decoder_init(&screen->decoder);
    screen->greeted = false;
    screen->reporting = false;
    screen->report_seq = 0;
    screen->waiting_count = 0;
    screen->picture.level = MAX_LEVEL;
    show_static(screen, TAP_CUE_INVITE);
}

void tap_screen_byte(struct tap_screen *screen, uint8_t byte, uint32_t now_ms)
{
    struct tap_frame frame;
    if (tap_decoder_byte(&screen->decoder, byte, &frame)) {
        receive(screen, &frame, now_ms);
    }
    tap_screen_tick(screen, now_ms);
}

void tap_screen_tick(struct tap_screen *screen, uint32_t now_ms)
{
    /* The difference of two unsigned counts is right over a wrap-around, the comparison of two moments is not. */
    if (screen->timed && (uint32_t)(now_ms - screen->shown_at) >= screen->ttl_ms) {
        uint8_t cue = screen->picture.cue;
        bool rests = cue == TAP_CUE_RESTING || cue == TAP_CUE_FAULT || cue == TAP_CUE_QUIET;
        show_static(screen, rests ? TAP_CUE_RESTING : TAP_CUE_INVITE);
    }
    report_events(screen, now_ms);
}

bool tap_screen_event(struct tap_screen *screen, uint8_t code, const uint8_t *data, size_t length)
{
    bool kept_all = screen->waiting_count < TAP_EVENTS_WAITING;
    if (!kept_all) {
        drop_oldest(screen);
    }
    if (length > TAP_MAX_EVENT_DATA) {
        length = TAP_MAX_EVENT_DATA;
    }
    struct tap_event *event = &screen->waiting[screen->waiting_count];
    event->bytes[0] = code;
    copy(&event->bytes[1], data, length);
    event->length = (uint8_t)(1u + length);
    screen->waiting_count++;
    return kept_all;
}
