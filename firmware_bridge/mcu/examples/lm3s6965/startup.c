/* SPDX-License-Identifier: Apache-2.0
 *
 * From reset to main without a C library: vectors, .data, .bss, and the two functions that a compiler may call.
 */
#include <stddef.h>
#include <stdint.h>

extern uint32_t data_in_flash[], data_begin[], data_end[], bss_begin[], bss_end[];

int main(void);
void *memcpy(void *to, const void *from, size_t length);
void *memset(void *to, int value, size_t length);
void reset_handler(void);
void fault_handler(void);
void systick_handler(void);
void uart0_handler(void);

void *memcpy(void *to, const void *from, size_t length)
{
    unsigned char *target = to;
    const unsigned char *source = from;
    for (size_t at = 0; at < length; at++) {
        target[at] = source[at];
    }
    return to;
}

void *memset(void *to, int value, size_t length)
{
    unsigned char *target = to;
    for (size_t at = 0; at < length; at++) {
        target[at] = (unsigned char)value;
    }
    return to;
}

void reset_handler(void)
{
    const uint32_t *from = data_in_flash;
    for (uint32_t *to = data_begin; to < data_end; to++) {
        *to = *from;
        from++;
    }
    for (uint32_t *to = bss_begin; to < bss_end; to++) {
        *to = 0;
    }
    (void)main();
    fault_handler();
}

/* A firmware that is lost starts again: a display must never stay dark. */
void fault_handler(void)
{
    *(volatile uint32_t *)0xE000ED0Cu = 0x05FA0004u;
    for (;;) {
    }
}

/* The linker script puts the first word, the stack pointer, before these. */
typedef void (*vector)(void);
extern const vector vectors[];
__attribute__((section(".vectors"), used)) const vector vectors[] = {
    reset_handler, fault_handler, fault_handler, fault_handler,   fault_handler, fault_handler, NULL,
    NULL,          NULL,          NULL,          fault_handler,   fault_handler, NULL,          fault_handler,
    systick_handler,
    /* interrupts 0-4, then UART0 */
    fault_handler, fault_handler, fault_handler, fault_handler,   fault_handler, uart0_handler,
};
