/* SPDX-License-Identifier: Apache-2.0
 *
 * The MCU's end of the screen link: the six rules of docs/screen-link.md, "What the MCU must do".
 *
 * Give it each byte of the line and the time; it answers, tells the display what to show, and falls back by itself.
 * Call everything from one context (the main loop), never from an interrupt nor from inside a hook.
 */
#ifndef TAP_SCREEN_H
#define TAP_SCREEN_H

#include "tap_frames.h"

#define TAP_MAX_TEXT 64u
#define TAP_MAX_TERMINAL_ID 24u
#define TAP_MAX_SERIAL 16u
#define TAP_MAX_EVENT_DATA 32u
/* Events that wait while one is being reported; when one more comes, the oldest is given up. */
#define TAP_EVENTS_WAITING 4u

enum tap_cue {
    TAP_CUE_INVITE = 1,
    TAP_CUE_READING = 2,
    TAP_CUE_THANKS = 3,
    TAP_CUE_UNLOCK = 4,
    TAP_CUE_RETRY = 5,
    TAP_CUE_RESTING = 6,
    TAP_CUE_FAULT = 7,
    TAP_CUE_IDENTIFY = 8,
    TAP_CUE_QUIET = 9
};

enum tap_capability {
    TAP_CAN_TEXT = 0x01,
    TAP_CAN_BRIGHTNESS = 0x02,
    TAP_CAN_BUTTON = 0x04,
    TAP_CAN_LIGHT_SENSOR = 0x08,
    TAP_CAN_TAMPER = 0x10,
    TAP_CAN_QUIET = 0x20
};

enum tap_event_code {
    TAP_EVENT_BUTTON = 1,
    TAP_EVENT_TAMPER = 2,
    TAP_EVENT_AMBIENT_LIGHT = 3,
    TAP_EVENT_WATCHDOG_RESET = 4
    /* Codes from 128 are the maker's own. */
};

/* What a person should see now. */
struct tap_picture {
    uint8_t cue;    /* enum tap_cue */
    uint8_t level;  /* brightness, 0-100 */
    bool is_static; /* the display's own picture: nobody has said anything, or for too long */
    uint8_t length; /* bytes of text */
    /* Valid UTF-8, with a 00 behind it. An amount is its first line, ended by a line feed. */
    char text[TAP_MAX_TEXT + 1u];
};

/* The five functions of a port. context is handed back as it is. */
struct tap_port {
    void *context;
    /* Put these bytes (at most 40) on the line: copy them, or wait until they are out (at most 4 ms at 115200 baud). */
    void (*write)(void *context, const uint8_t *data, size_t length);
    /* Show this; copy what is needed later. Must return within milliseconds: start the drawing, do not wait for it. */
    void (*display)(void *context, const struct tap_picture *picture);
    /* Restart the MCU once what was written is out. May return; the session then goes on until the restart. */
    void (*restart)(void *context);
    /* Degrees Celsius. */
    int8_t (*temperature)(void *context);
    /* The maker's own fault bits. */
    uint16_t (*faults)(void *context);
};

struct tap_identity {
    uint8_t firmware[3];  /* major, minor, patch */
    uint8_t capabilities; /* sum of enum tap_capability */
    const char *serial;   /* UTF-8; at most TAP_MAX_SERIAL bytes are sent */
};

/* An event as it goes into a payload: code, then data. */
struct tap_event {
    uint8_t bytes[1u + TAP_MAX_EVENT_DATA];
    uint8_t length;
};

/* One run of the MCU since its start. Its members are nobody else's but picture and decoder.errors, to be read. */
struct tap_screen {
    const struct tap_port *port;
    const struct tap_identity *identity;
    struct tap_picture picture;
    struct tap_decoder decoder;
    /* A host has said HELLO: from then on there is a last message. */
    bool greeted;

    /* The cue's time to live: running, since when, how long. */
    bool timed;
    uint16_t ttl_ms;
    uint32_t shown_at;

    /* The last message that was carried out, for a host that has not heard the answer. */
    uint8_t ran_seq;
    uint8_t ran_type;
    uint8_t status[8];

    /* Events: the one that is being reported, and those that wait, oldest first. */
    bool reporting;
    uint8_t report_seq;
    uint8_t repeats;
    uint32_t reported_at;
    struct tap_event report;
    struct tap_event waiting[TAP_EVENTS_WAITING];
    uint8_t waiting_count;
};

/* Begin, and show the static invitation. port and identity must stay. */
void tap_screen_init(struct tap_screen *screen, const struct tap_port *port, const struct tap_identity *identity);

/* Take one byte of the line. now_ms is a free running count of milliseconds since power-on; it may wrap around. */
void tap_screen_byte(struct tap_screen *screen, uint8_t byte, uint32_t now_ms);

/* Let time pass: call it at least every 10 ms. */
void tap_screen_tick(struct tap_screen *screen, uint32_t now_ms);

/* Report something to the host at the next byte or tick, and again until it was heard: at most four times in 200 ms.
 * Data beyond TAP_MAX_EVENT_DATA is cut. False when an older event that waited had to be given up for it. */
bool tap_screen_event(struct tap_screen *screen, uint8_t code, const uint8_t *data, size_t length);

#endif
