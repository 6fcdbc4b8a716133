// Question: how fast is byte-wise work on strings: splitting into words, parsing numbers, changing case, base64 there
// and back? argv[1] is the number of passes over a 32 KiB text.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { SIZE = 32768 };

static unsigned char text[SIZE], coded[SIZE / 3 * 4 + 8], decoded[SIZE + 8];
static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void make_text(uint32_t seed) {
    int at = 0;
    while (at < SIZE) {
        seed = seed * 1664525u + 1013904223u;
        int length = 1 + (seed >> 28) % 9, number = (seed >> 20 & 7) == 0;
        for (int i = 0; i < length && at < SIZE; i++) {
            seed = seed * 1664525u + 1013904223u;
            text[at++] = number ? '0' + (seed >> 24) % 10 : ((seed >> 16 & 7) ? 'a' : 'A') + (seed >> 24) % 26;
        }
        if (at < SIZE) text[at++] = (seed >> 12 & 15) ? ' ' : '\n';
    }
}

struct counts {
    uint32_t lines, words, numbers, sum;
};

static struct counts count(void) {
    struct counts counts = {0, 0, 0, 0};
    int inside = 0, numeric = 0;
    uint32_t value = 0;
    for (int i = 0; i <= SIZE; i++) {
        unsigned char c = i < SIZE ? text[i] : '\n';
        if (c == ' ' || c == '\n') {
            if (inside) {
                counts.words++;
                if (numeric) {
                    counts.numbers++;
                    counts.sum += value;
                }
            }
            inside = 0;
            counts.lines += c == '\n';
        } else {
            if (!inside) {
                inside = numeric = 1;
                value = 0;
            }
            if (c >= '0' && c <= '9') value = value * 10 + (c - '0');
            else numeric = 0;
        }
    }
    return counts;
}

static void swap_case(void) {
    for (int i = 0; i < SIZE; i++) {
        unsigned char c = text[i];
        if (c >= 'a' && c <= 'z') text[i] = c - 'a' + 'A';
        else if (c >= 'A' && c <= 'Z') text[i] = c - 'A' + 'a';
    }
}

static int encode(void) {
    int out = 0;
    for (int i = 0; i < SIZE; i += 3) {
        uint32_t group = (uint32_t)text[i] << 16;
        if (i + 1 < SIZE) group |= (uint32_t)text[i + 1] << 8;
        if (i + 2 < SIZE) group |= text[i + 2];
        coded[out++] = alphabet[group >> 18];
        coded[out++] = alphabet[group >> 12 & 63];
        coded[out++] = i + 1 < SIZE ? alphabet[group >> 6 & 63] : '=';
        coded[out++] = i + 2 < SIZE ? alphabet[group & 63] : '=';
    }
    return out;
}

static int value_of(unsigned char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static int decode(int length) {
    int out = 0, bits = 0;
    uint32_t group = 0;
    for (int i = 0; i < length; i++) {
        int value = value_of(coded[i]);
        if (value < 0) break;
        group = group << 6 | (uint32_t)value;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            decoded[out++] = (unsigned char)(group >> bits);
        }
    }
    return out;
}

int main(int argc, char **argv) {
    long passes = argc > 1 ? atol(argv[1]) : 400;
    uint32_t hash = 2166136261u;
    make_text(42);
    for (long pass = 0; pass < passes; pass++) {
        struct counts counts = count();
        swap_case();
        int length = decode(encode());
        int wrong = length != SIZE;
        for (int i = 0; i < SIZE && !wrong; i++) wrong = decoded[i] != text[i];
        if (wrong) {
            puts("text FAILED");
            return 1;
        }
        hash = (hash ^ counts.lines) * 16777619u;
        hash = (hash ^ counts.words) * 16777619u;
        hash = (hash ^ counts.sum ^ counts.numbers) * 16777619u;
        text[hash % SIZE] = ' ';
    }
    printf("text %ld %08x\n", passes, hash);
    return 0;
}
