/* SPDX-License-Identifier: Apache-2.0
 *
 * The C reference under a test's control: commands on standard input, what it did on standard output.
 *
 *   init                    a new session               crc HEX               -> crc NUMBER
 *   serial HEX              the serial number from then on
 *   byte MS HEX             bytes of the line at MS     encode TYPE SEQ HEX   -> line HEX
 *   tick MS                 time passes                 decode HEX            -> frame VERSION TYPE SEQ HEX | errors N
 *   event CODE HEX          something happened
 *   done                    -> state CUE LEVEL STATIC HEX ERRORS, then done; flushes
 *
 * A session answers with: tx HEX | show CUE LEVEL STATIC HEX | restart | dropped. "-" stands for no bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap_screen.h"

enum { MAX_BYTES = 65536 };

static char command[2 * MAX_BYTES + 64];
static struct tap_screen screen;
static char serial[64] = "simulated";
static bool booting;
static bool restart_wanted;

static void print_bytes(const void *data, size_t length)
{
    const uint8_t *bytes = data;
    if (length == 0) {
        fputs("-", stdout);
    }
    for (size_t at = 0; at < length; at++) {
        printf("%02x", bytes[at]);
    }
    fputs("\n", stdout);
}

static void write_line(void *context, const uint8_t *data, size_t length)
{
    (void)context;
    fputs("tx ", stdout);
    print_bytes(data, length);
}

static void print_picture(const char *what, const struct tap_picture *picture)
{
    if (strlen(picture->text) > picture->length || picture->text[picture->length] != '\0') {
        abort();
    }
    printf("%s %u %u %d ", what, picture->cue, picture->level, picture->is_static);
    print_bytes(picture->text, picture->length);
}

static void display(void *context, const struct tap_picture *picture)
{
    (void)context;
    if (!booting) {
        print_picture("show", picture);
    }
}

static void restart(void *context)
{
    (void)context;
    restart_wanted = true;
    puts("restart");
}

static int8_t temperature(void *context)
{
    (void)context;
    return 41;
}

static uint16_t faults(void *context)
{
    (void)context;
    return 0;
}

static void init(void)
{
    static const struct tap_port port = {NULL, write_line, display, restart, temperature, faults};
    static const struct tap_identity identity = {
        {1, 0, 0}, TAP_CAN_TEXT | TAP_CAN_BRIGHTNESS | TAP_CAN_QUIET, serial};
    booting = true;
    memset(&screen, 0xA5, sizeof screen); /* RAM at power-on is anything */
    tap_screen_init(&screen, &port, &identity);
    booting = false;
}

/* Returns bytes of their exact size on the heap, so that the sanitizer sees each byte beyond. */
static uint8_t *bytes_of(const char *hex, size_t *length)
{
    *length = (hex[0] == '-') ? 0 : strlen(hex) / 2;
    uint8_t *bytes = malloc(*length > 0 ? *length : 1);
    if (bytes == NULL) {
        abort();
    }
    for (size_t at = 0; at < *length; at++) {
        const char pair[3] = {hex[2 * at], hex[2 * at + 1], '\0'};
        bytes[at] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return bytes;
}

static void decode(const uint8_t *bytes, size_t length)
{
    struct tap_decoder decoder;
    struct tap_frame frame;
    memset(&decoder, 0xA5, sizeof decoder);
    tap_decoder_init(&decoder);
    for (size_t at = 0; at < length; at++) {
        if (tap_decoder_byte(&decoder, bytes[at], &frame)) {
            printf("frame %u %u %u ", frame.version, frame.type, frame.seq);
            print_bytes(frame.payload, frame.length);
        }
    }
    printf("errors %u\n", decoder.errors);
}

static void encode(uint8_t type, uint8_t seq, const uint8_t *bytes, size_t length)
{
    uint8_t *line = malloc(TAP_MAX_LINE);
    if (line == NULL) {
        abort();
    }
    size_t size = tap_frame_encode(line, type, seq, bytes, length);
    fputs("line ", stdout);
    print_bytes(line, size);
    free(line);
}

int main(void)
{
    init();
    while (fgets(command, (int)sizeof command, stdin) != NULL) {
        const char *words[4] = {"", "", "", ""};
        size_t count = 0;
        for (char *word = strtok(command, " \n"); word != NULL && count < 4; word = strtok(NULL, " \n")) {
            words[count] = word;
            count++;
        }
        size_t length;
        uint8_t *bytes = bytes_of(words[count > 1 ? count - 1 : 3], &length);
        uint32_t number = (uint32_t)strtoul(words[1], NULL, 10);
        if (strcmp(words[0], "byte") == 0) {
            for (size_t at = 0; at < length; at++) {
                tap_screen_byte(&screen, bytes[at], number);
                if (restart_wanted) {
                    restart_wanted = false;
                    init();
                }
            }
        } else if (strcmp(words[0], "tick") == 0) {
            tap_screen_tick(&screen, number);
        } else if (strcmp(words[0], "event") == 0) {
            if (!tap_screen_event(&screen, (uint8_t)number, bytes, length)) {
                puts("dropped");
            }
        } else if (strcmp(words[0], "serial") == 0 && length < sizeof serial) {
            memcpy(serial, bytes, length);
            serial[length] = '\0';
        } else if (strcmp(words[0], "init") == 0) {
            init();
        } else if (strcmp(words[0], "crc") == 0) {
            printf("crc %u\n", tap_crc16(bytes, length));
        } else if (strcmp(words[0], "encode") == 0) {
            encode((uint8_t)number, (uint8_t)strtoul(words[2], NULL, 10), bytes, length);
        } else if (strcmp(words[0], "decode") == 0) {
            decode(bytes, length);
        } else if (strcmp(words[0], "done") == 0) {
            print_picture("state", &screen.picture);
            printf("errors %u\ndone\n", screen.decoder.errors);
            fflush(stdout);
        } else {
            fprintf(stderr, "unknown command %s\n", words[0]);
            return 2;
        }
        free(bytes);
    }
    return 0;
}
