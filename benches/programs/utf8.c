// Question: how fast are byte vectors with table look-ups, as parsers have them? A text of 128 KiB is checked to be UTF-8,
// sixteen bytes at a time: what is wrong with a pair of bytes is looked up by three of their nibbles. argv[1] is the number
// of times; each time one byte of the text changes.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wasm_simd128.h>

enum { SIZE = 131072 };

// What may be wrong with two neighbours, each a bit. A pair is wrong if one bit is set in all three look-ups.
enum {
    SHORT = 1 << 0,     // a leading byte without a continuation
    LONE = 1 << 1,      // a continuation after ASCII
    OVERLONG3 = 1 << 2, // e0 80..9f
    SURROGATE = 1 << 3, // ed a0..bf
    OVERLONG2 = 1 << 4, // c0 or c1
    BEYOND = 1 << 5,    // f4 90..bf, f5 and more
    OVERLONG4 = 1 << 6, // f0 80..8f; f5 and more before 80..8f
    TWICE = 1 << 7,     // two continuations: right only as the third or fourth byte
    ANY_LOW = SHORT | LONE | TWICE,
};

static uint8_t first_high[16], first_low[16], second_high[16];
static uint8_t text[SIZE + 16];

static void make_tables(void) {
    for (int nibble = 0; nibble < 16; nibble++) {
        first_high[nibble] = nibble < 8    ? LONE
                             : nibble < 12 ? TWICE
                             : nibble == 12 ? SHORT | OVERLONG2
                             : nibble == 13 ? SHORT
                             : nibble == 14 ? SHORT | OVERLONG3 | SURROGATE
                                            : SHORT | BEYOND | OVERLONG4;
        first_low[nibble] = ANY_LOW | (nibble == 0 ? OVERLONG3 | OVERLONG2 | OVERLONG4 : 0) |
                            (nibble == 1 ? OVERLONG2 : 0) | (nibble == 13 ? SURROGATE : 0) |
                            (nibble >= 4 ? BEYOND : 0) | (nibble >= 5 ? OVERLONG4 : 0);
        second_high[nibble] = nibble < 8 || nibble > 11 ? SHORT
                              : LONE | TWICE | OVERLONG2 |
                                    (nibble == 8   ? OVERLONG3 | OVERLONG4
                                     : nibble == 9 ? OVERLONG3 | BEYOND
                                                   : SURROGATE | BEYOND);
    }
}

// Whether all of `text` is UTF-8, as far as whole vectors go; the text ends in zeros.
static int is_valid(void) {
    v128_t high = wasm_v128_load(first_high), low = wasm_v128_load(first_low), second = wasm_v128_load(second_high);
    v128_t before = wasm_i8x16_splat(0), wrong = wasm_i8x16_splat(0), mask = wasm_i8x16_splat(15);
    for (int i = 0; i < SIZE + 16; i += 16) {
        v128_t now = wasm_v128_load(text + i);
        v128_t one = wasm_i8x16_shuffle(before, now, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30);
        v128_t two = wasm_i8x16_shuffle(before, now, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29);
        v128_t three = wasm_i8x16_shuffle(before, now, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28);
        v128_t bad = wasm_v128_and(wasm_i8x16_swizzle(high, wasm_u8x16_shr(one, 4)),
                                   wasm_i8x16_swizzle(low, wasm_v128_and(one, mask)));
        bad = wasm_v128_and(bad, wasm_i8x16_swizzle(second, wasm_u8x16_shr(now, 4)));
        // The bit of two continuations must be set exactly where a third or fourth byte is due.
        v128_t due = wasm_v128_or(wasm_u8x16_gt(two, wasm_i8x16_splat((int8_t)0xdf)),
                                  wasm_u8x16_gt(three, wasm_i8x16_splat((int8_t)0xef)));
        bad = wasm_v128_xor(bad, wasm_v128_and(due, wasm_i8x16_splat((int8_t)TWICE)));
        wrong = wasm_v128_or(wrong, bad);
        before = now;
    }
    return !wasm_v128_any_true(wrong);
}

static void make_text(void) {
    static const char *const pieces[] = {"plain words, ", "\xc3\xa4\xc3\xb6\xc3\xbc ", "\xe2\x82\xac", "\xf0\x9f\xa6\x80", "\n"};
    uint32_t random = 7;
    size_t at = 0;
    for (;;) {
        random = random * 1664525 + 1013904223;
        const char *piece = pieces[(random >> 24) % 5];
        size_t length = strlen(piece);
        if (at + length > SIZE) break;
        memcpy(text + at, piece, length);
        at += length;
    }
}

int main(int argc, char **argv) {
    int n = argc > 1 ? atoi(argv[1]) : 12000;
    make_tables();
    make_text();
    uint32_t random = 1, valid = 0, sum = 0;
    for (int i = 0; i < n; i++) {
        random = random * 1664525 + 1013904223;
        uint8_t *at = &text[(random >> 8) % (SIZE - 16)], old = *at;
        *at = (uint8_t)random;
        int is = is_valid();
        valid += (uint32_t)is;
        sum = sum * 31 + (uint32_t)is;
        *at = old;
    }
    printf("utf8 %d %u %08x\n", n, valid, sum);
    return 0;
}
