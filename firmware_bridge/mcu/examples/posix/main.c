/* SPDX-License-Identifier: Apache-2.0
 *
 * The reference as a process: the line is a new pseudo terminal, to which the path given as argument leads.
 * Pictures go to standard output, keys come from standard input ("b", "t", "l"); its end ends the process.
 */
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "panel.h"

enum { TICK_MS = 5 };

static int line_fd = -1;
static bool restart_wanted;
static uint32_t started_at;
static struct tap_screen screen;

static uint32_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)now.tv_sec * 1000u + (uint32_t)(now.tv_nsec / 1000000);
}

/* Since the start, as on an MCU. */
static uint32_t now_ms(void)
{
    return clock_ms() - started_at;
}

/* What a line that nobody reads does not take is lost, as on a wire. */
static void write_line(void *context, const uint8_t *data, size_t length)
{
    (void)context;
    if (write(line_fd, data, length) < 0 && errno != EAGAIN) {
        perror("line");
    }
}

static void display(void *context, const struct tap_picture *picture)
{
    char line[PANEL_MAX_LINE];
    (void)context;
    fwrite(line, 1, panel_line(line, picture), stdout);
    fflush(stdout);
}

static void restart(void *context)
{
    (void)context;
    restart_wanted = true;
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

/* Returns the slave, to be kept open: a host that goes away must not end the line. */
static int open_line(const char *path)
{
    struct termios raw;
    const char *name;
    char old[1];
    int slave;
    line_fd = posix_openpt(O_RDWR | O_NOCTTY);
    if (line_fd < 0 || grantpt(line_fd) != 0 || unlockpt(line_fd) != 0) {
        return -1;
    }
    name = ptsname(line_fd);
    slave = (name == NULL) ? -1 : open(name, O_RDWR | O_NOCTTY);
    if (slave < 0 || tcgetattr(slave, &raw) != 0) {
        return -1;
    }
    raw.c_iflag = 0;
    raw.c_oflag = 0;
    raw.c_lflag = 0;
    raw.c_cflag = CS8 | CREAD | CLOCAL;
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (tcsetattr(slave, TCSANOW, &raw) != 0 || fcntl(line_fd, F_SETFL, O_NONBLOCK) != 0) {
        return -1;
    }
    if (readlink(path, old, sizeof old) >= 0) { /* of a run that was interrupted; a file stays and is an error */
        unlink(path);
    }
    return (symlink(name, path) == 0) ? slave : -1;
}

static void start(void)
{
    static const struct tap_port port = {NULL, write_line, display, restart, temperature, faults};
    restart_wanted = false;
    started_at = clock_ms();
    tap_screen_init(&screen, &port, &panel_identity);
}

int main(int count, char **arguments)
{
    struct pollfd watched[2];
    char keys[16];
    uint8_t bytes[256];
    if (count != 2) {
        fputs("usage: tap_screen_posix PATH\n", stderr);
        return 2;
    }
    if (open_line(arguments[1]) < 0) {
        perror(arguments[1]);
        return 1;
    }
    watched[0].fd = line_fd;
    watched[0].events = POLLIN;
    watched[1].fd = STDIN_FILENO;
    watched[1].events = POLLIN;
    start();
    for (;;) {
        ssize_t length;
        if (poll(watched, 2, TICK_MS) < 0 && errno != EINTR) {
            break;
        }
        length = (watched[0].revents != 0) ? read(line_fd, bytes, sizeof bytes) : 0;
        for (ssize_t at = 0; at < length; at++) {
            tap_screen_byte(&screen, bytes[at], now_ms());
            if (restart_wanted) {
                start();
            }
        }
        if (watched[1].revents != 0) {
            length = read(STDIN_FILENO, keys, sizeof keys);
            if (length <= 0) {
                break;
            }
            for (ssize_t at = 0; at < length; at++) {
                panel_key(&screen, keys[at]);
            }
        }
        tap_screen_tick(&screen, now_ms());
    }
    unlink(arguments[1]);
    return 0;
}
