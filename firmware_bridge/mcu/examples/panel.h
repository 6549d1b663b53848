/* SPDX-License-Identifier: Apache-2.0
 *
 * A display for the examples that needs no display: each picture is a line of text, each key an event.
 * A maker replaces it by the drawing and the buttons of the board.
 */
#ifndef PANEL_H
#define PANEL_H

#include "tap_screen.h"

#define PANEL_MAX_LINE (32u + TAP_MAX_TEXT)

extern const struct tap_identity panel_identity;

/* Write "show 3 80 host text\n" (cue, level, host or static) into line; return its length. A line feed becomes "|". */
size_t panel_line(char line[PANEL_MAX_LINE], const struct tap_picture *picture);

/* "b" presses the button, "t" opens the cover, "l" is light of 320 lux; other keys are nothing. */
void panel_key(struct tap_screen *screen, char key);

#endif
