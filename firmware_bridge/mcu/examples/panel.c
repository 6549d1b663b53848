/* SPDX-License-Identifier: Apache-2.0 */
#include "panel.h"

const struct tap_identity panel_identity = {
    {1, 0, 0},
    TAP_CAN_TEXT | TAP_CAN_BRIGHTNESS | TAP_CAN_BUTTON | TAP_CAN_LIGHT_SENSOR | TAP_CAN_TAMPER | TAP_CAN_QUIET,
    "C-reference"};

static size_t put_text(char *line, size_t at, const char *text)
{
    for (; *text != '\0'; text++) {
        line[at] = *text;
        at++;
    }
    return at;
}

static size_t put_number(char *line, size_t at, uint8_t number)
{
    if (number >= 100u) {
        line[at] = (char)('0' + number / 100u);
        at++;
    }
    if (number >= 10u) {
        line[at] = (char)('0' + number / 10u % 10u);
        at++;
    }
    line[at] = (char)('0' + number % 10u);
    return at + 1u;
}

size_t panel_line(char line[PANEL_MAX_LINE], const struct tap_picture *picture)
{
    size_t at = put_text(line, 0, "show ");
    at = put_number(line, at, picture->cue);
    at = put_text(line, at, " ");
    at = put_number(line, at, picture->level);
    at = put_text(line, at, picture->is_static ? " static" : " host");
    if (picture->length > 0) {
        at = put_text(line, at, " ");
    }
    for (size_t from = 0; from < picture->length; from++) {
        line[at] = (picture->text[from] == '\n') ? '|' : picture->text[from];
        at++;
    }
    return put_text(line, at, "\n");
}

void panel_key(struct tap_screen *screen, char key)
{
    static const uint8_t first_button[] = {1};
    static const uint8_t lux[] = {320u >> 8, 320u & 0xFFu};
    if (key == 'b') {
        (void)tap_screen_event(screen, TAP_EVENT_BUTTON, first_button, sizeof first_button);
    } else if (key == 't') {
        (void)tap_screen_event(screen, TAP_EVENT_TAMPER, NULL, 0);
    } else if (key == 'l') {
        (void)tap_screen_event(screen, TAP_EVENT_AMBIENT_LIGHT, lux, sizeof lux);
    }
}
