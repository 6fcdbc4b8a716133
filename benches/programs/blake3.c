// Question: how fast are 32-bit vector additions, xors and rotations that depend on each other? Four chunks of BLAKE3 are
// hashed side by side, one a lane. argv[1] is the number of messages of 64 KiB hashed, each seeded with the digest before it.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wasm_simd128.h>

enum { SIZE = 65536, CHUNK = 1024, BLOCK = 64, CHUNKS = SIZE / CHUNK };
enum { CHUNK_START = 1, CHUNK_END = 2, PARENT = 4, ROOT = 8 };

static const uint32_t initial[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static const uint8_t permutation[16] = {2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8};

static uint8_t schedule[7][16];
static uint8_t message[SIZE];

static v128_t rotate(v128_t x, int by) {
    return wasm_v128_or(wasm_u32x4_shr(x, by), wasm_i32x4_shl(x, 32 - by));
}

static inline void quarter(v128_t *v, int a, int b, int c, int d, v128_t x, v128_t y) {
    v[a] = wasm_i32x4_add(wasm_i32x4_add(v[a], v[b]), x);
    v[d] = rotate(wasm_v128_xor(v[d], v[a]), 16);
    v[c] = wasm_i32x4_add(v[c], v[d]);
    v[b] = rotate(wasm_v128_xor(v[b], v[c]), 12);
    v[a] = wasm_i32x4_add(wasm_i32x4_add(v[a], v[b]), y);
    v[d] = rotate(wasm_v128_xor(v[d], v[a]), 8);
    v[c] = wasm_i32x4_add(v[c], v[d]);
    v[b] = rotate(wasm_v128_xor(v[b], v[c]), 7);
}

// One block of each of four inputs: `values` are the chaining values, a word a vector; `words` the message likewise.
static void compress(v128_t values[8], const v128_t words[16], v128_t counter, uint32_t length, uint32_t flags) {
    v128_t v[16];
    for (int i = 0; i < 8; i++) v[i] = values[i];
    for (int i = 0; i < 4; i++) v[8 + i] = wasm_i32x4_splat((int32_t)initial[i]);
    v[12] = counter;
    v[13] = wasm_i32x4_splat(0);
    v[14] = wasm_i32x4_splat((int32_t)length);
    v[15] = wasm_i32x4_splat((int32_t)flags);
    for (int round = 0; round < 7; round++) {
        const uint8_t *s = schedule[round];
        quarter(v, 0, 4, 8, 12, words[s[0]], words[s[1]]);
        quarter(v, 1, 5, 9, 13, words[s[2]], words[s[3]]);
        quarter(v, 2, 6, 10, 14, words[s[4]], words[s[5]]);
        quarter(v, 3, 7, 11, 15, words[s[6]], words[s[7]]);
        quarter(v, 0, 5, 10, 15, words[s[8]], words[s[9]]);
        quarter(v, 1, 6, 11, 12, words[s[10]], words[s[11]]);
        quarter(v, 2, 7, 8, 13, words[s[12]], words[s[13]]);
        quarter(v, 3, 4, 9, 14, words[s[14]], words[s[15]]);
    }
    for (int i = 0; i < 8; i++) values[i] = wasm_v128_xor(v[i], v[8 + i]);
}

static void transpose(v128_t r[4]) {
    v128_t a = wasm_i32x4_shuffle(r[0], r[1], 0, 4, 1, 5), b = wasm_i32x4_shuffle(r[0], r[1], 2, 6, 3, 7);
    v128_t c = wasm_i32x4_shuffle(r[2], r[3], 0, 4, 1, 5), d = wasm_i32x4_shuffle(r[2], r[3], 2, 6, 3, 7);
    r[0] = wasm_i64x2_shuffle(a, c, 0, 2);
    r[1] = wasm_i64x2_shuffle(a, c, 1, 3);
    r[2] = wasm_i64x2_shuffle(b, d, 0, 2);
    r[3] = wasm_i64x2_shuffle(b, d, 1, 3);
}

static void load_words(v128_t words[16], const uint8_t *from, size_t stride) {
    for (int quarter = 0; quarter < 4; quarter++) {
        for (size_t lane = 0; lane < 4; lane++) {
            words[4 * quarter + (int)lane] = wasm_v128_load(from + lane * stride + 16 * quarter);
        }
        transpose(words + 4 * quarter);
    }
}

static void initialize(v128_t values[8]) {
    for (int i = 0; i < 8; i++) values[i] = wasm_i32x4_splat((int32_t)initial[i]);
}

static void store_values(v128_t values[8], uint8_t *to) {
    transpose(values);
    transpose(values + 4);
    for (int lane = 0; lane < 4; lane++) {
        wasm_v128_store(to + 32 * lane, values[lane]);
        wasm_v128_store(to + 32 * lane + 16, values[4 + lane]);
    }
}

static void hash(uint8_t out[32]) {
    static uint8_t level[32 * CHUNKS];
    v128_t values[8], words[16];
    for (int first = 0; first < CHUNKS; first += 4) {
        v128_t counter = wasm_i32x4_make(first, first + 1, first + 2, first + 3);
        initialize(values);
        for (int block = 0; block < CHUNK / BLOCK; block++) {
            load_words(words, message + first * CHUNK + block * BLOCK, CHUNK);
            uint32_t flags = (block == 0 ? CHUNK_START : 0) | (block == CHUNK / BLOCK - 1 ? CHUNK_END : 0);
            compress(values, words, counter, BLOCK, flags);
        }
        store_values(values, level + 32 * first);
    }
    for (int nodes = CHUNKS / 2; nodes > 0; nodes /= 2) {
        // Lanes beyond the level's nodes hash what is left of the level below, and are not looked at.
        for (int first = 0; first < nodes; first += 4) {
            initialize(values);
            load_words(words, level + 64 * first, 64);
            compress(values, words, wasm_i32x4_splat(0), BLOCK, PARENT | (nodes == 1 ? ROOT : 0));
            store_values(values, level + 32 * first);
        }
    }
    memcpy(out, level, 32);
}

int main(int argc, char **argv) {
    int n = argc > 1 ? atoi(argv[1]) : 4000;
    for (int i = 0; i < 16; i++) schedule[0][i] = (uint8_t)i;
    for (int round = 1; round < 7; round++) {
        for (int i = 0; i < 16; i++) schedule[round][i] = schedule[round - 1][permutation[i]];
    }
    uint8_t digest[32] = {0};
    for (int i = 0; i < SIZE; i++) message[i] = (uint8_t)(i % 251);
    for (int i = 0; i < n; i++) {
        hash(digest);
        memcpy(message, digest, 32);
    }
    printf("blake3 %d ", n);
    for (int i = 0; i < 32; i++) printf("%02x", digest[i]);
    printf("\n");
    return 0;
}
