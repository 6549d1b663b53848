/* SPDX-License-Identifier: Apache-2.0
 *
 * The port for the board lm3s6965evb (Cortex-M3), as qemu emulates it: UART0 is the line, UART1 the panel.
 * On silicon set up the PLL first: the clock below is the one that qemu starts with.
 */
#include "panel.h"

#define CPU_HZ 12500000u
#define BAUD 115200u

#ifndef START_MS /* a test starts the count of milliseconds close to its wrap-around */
#define START_MS 0u
#endif

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define CLOCK_OF_UARTS REGISTER(0x400FE104u)
#define SYSTICK_CONTROL REGISTER(0xE000E010u)
#define SYSTICK_RELOAD REGISTER(0xE000E014u)
#define SYSTICK_VALUE REGISTER(0xE000E018u)
#define INTERRUPTS_ON REGISTER(0xE000E100u)
#define RESET_CONTROL REGISTER(0xE000ED0Cu)
#define RESET_NOW 0x05FA0004u

#define UART0 0x4000C000u
#define UART1 0x4000D000u
#define UART_DATA(uart) REGISTER((uart) + 0x00u)
#define UART_FLAGS(uart) REGISTER((uart) + 0x18u)
#define UART_BAUD(uart) REGISTER((uart) + 0x24u)
#define UART_BAUD_64THS(uart) REGISTER((uart) + 0x28u)
#define UART_FORMAT(uart) REGISTER((uart) + 0x2Cu)
#define UART_CONTROL(uart) REGISTER((uart) + 0x30u)
#define UART_INTERRUPTS(uart) REGISTER((uart) + 0x38u)
#define UART_CLEAR(uart) REGISTER((uart) + 0x44u)
#define FLAG_SENDING 0x08u
#define FLAG_NOTHING_THERE 0x10u
#define FLAG_FULL 0x20u
#define INTERRUPT_RECEIVED 0x50u /* a byte is there, or has been for a while */
#define FORMAT_8N1_FIFO 0x70u
#define CONTROL_ON 0x301u
#define UART0_INTERRUPT (1u << 5)

/* Bytes from the interrupt to the main loop: one writes head, the other tail. 256 bytes are 22 ms of a full line. */
static volatile uint8_t ring[256];
static volatile uint8_t ring_head;
static volatile uint8_t ring_tail;
static volatile uint32_t milliseconds = START_MS;

int main(void);
void systick_handler(void);
void uart0_handler(void);

void systick_handler(void)
{
    milliseconds++;
}

void uart0_handler(void)
{
    UART_CLEAR(UART0) = INTERRUPT_RECEIVED;
    while ((UART_FLAGS(UART0) & FLAG_NOTHING_THERE) == 0) {
        uint8_t byte = (uint8_t)(UART_DATA(UART0) & 0xFFu);
        uint8_t next = (uint8_t)(ring_head + 1u);
        if (next != ring_tail) { /* when the ring is full the byte is lost, and the CRC tells */
            ring[ring_head] = byte;
            ring_head = next;
        }
    }
}

static void uart_put(uint32_t uart, uint8_t byte)
{
    while ((UART_FLAGS(uart) & FLAG_FULL) != 0) {
    }
    UART_DATA(uart) = byte;
}

static void write_line(void *context, const uint8_t *data, size_t length)
{
    (void)context;
    for (size_t at = 0; at < length; at++) {
        uart_put(UART0, data[at]);
    }
}

static void display(void *context, const struct tap_picture *picture)
{
    char line[PANEL_MAX_LINE];
    size_t length = panel_line(line, picture);
    (void)context;
    for (size_t at = 0; at < length; at++) {
        uart_put(UART1, (uint8_t)line[at]);
    }
}

static void restart(void *context)
{
    (void)context;
    while ((UART_FLAGS(UART0) & FLAG_SENDING) != 0) {
    }
    RESET_CONTROL = RESET_NOW;
    for (;;) {
    }
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

static void uart_start(uint32_t uart)
{
    const uint32_t divisor_64ths = (CPU_HZ * 4u + BAUD / 2u) / BAUD;
    UART_BAUD(uart) = divisor_64ths / 64u;
    UART_BAUD_64THS(uart) = divisor_64ths % 64u;
    UART_FORMAT(uart) = FORMAT_8N1_FIFO;
    UART_CONTROL(uart) = CONTROL_ON;
}

int main(void)
{
    static const struct tap_port port = {NULL, write_line, display, restart, temperature, faults};
    static struct tap_screen screen;

    CLOCK_OF_UARTS |= 0x3u;
    uart_start(UART0);
    uart_start(UART1);
    UART_INTERRUPTS(UART0) = INTERRUPT_RECEIVED;
    INTERRUPTS_ON = UART0_INTERRUPT;
    SYSTICK_RELOAD = CPU_HZ / 1000u - 1u;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 0x7u;

    tap_screen_init(&screen, &port, &panel_identity);
    for (;;) {
        while (ring_tail != ring_head) {
            uint8_t byte = ring[ring_tail];
            ring_tail = (uint8_t)(ring_tail + 1u);
            tap_screen_byte(&screen, byte, milliseconds);
        }
        while ((UART_FLAGS(UART1) & FLAG_NOTHING_THERE) == 0) {
            panel_key(&screen, (char)(UART_DATA(UART1) & 0x7Fu));
        }
        tap_screen_tick(&screen, milliseconds);
        __asm__ volatile("wfi"); /* a byte or the next millisecond ends it */
    }
}
