// Question: how fast are vector loads and stores with 8- and 16-bit lanes, as image filters have them? A picture of
// 512 by 512 bytes is blurred by a kernel of 5 by 5 and then sharpened by what the blur took. argv[1] is the number of times.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <wasm_simd128.h>

enum { WIDTH = 512, HEIGHT = 512, BORDER = 16, STRIDE = WIDTH + 2 * BORDER };

static uint8_t image[HEIGHT + 4][STRIDE], rows[HEIGHT + 4][STRIDE], blurred[HEIGHT][STRIDE];

// 1 4 6 4 1, of sixteen, rounded.
static v128_t five(v128_t a, v128_t b, v128_t c, v128_t d, v128_t e) {
    v128_t outer = wasm_i16x8_add(a, e);
    v128_t inner = wasm_i16x8_shl(wasm_i16x8_add(b, d), 2);
    v128_t middle = wasm_i16x8_mul(c, wasm_i16x8_splat(6));
    v128_t sum = wasm_i16x8_add(wasm_i16x8_add(outer, inner), wasm_i16x8_add(middle, wasm_i16x8_splat(8)));
    return wasm_u16x8_shr(sum, 4);
}

static v128_t taps(const uint8_t *at, ptrdiff_t step) {
    v128_t in[5], half[2];
    for (int i = 0; i < 5; i++) in[i] = wasm_v128_load(at + (i - 2) * step);
    half[0] = five(wasm_u16x8_extend_low_u8x16(in[0]), wasm_u16x8_extend_low_u8x16(in[1]),
                   wasm_u16x8_extend_low_u8x16(in[2]), wasm_u16x8_extend_low_u8x16(in[3]),
                   wasm_u16x8_extend_low_u8x16(in[4]));
    half[1] = five(wasm_u16x8_extend_high_u8x16(in[0]), wasm_u16x8_extend_high_u8x16(in[1]),
                   wasm_u16x8_extend_high_u8x16(in[2]), wasm_u16x8_extend_high_u8x16(in[3]),
                   wasm_u16x8_extend_high_u8x16(in[4]));
    return wasm_u8x16_narrow_i16x8(half[0], half[1]);
}

static void blur(void) {
    for (int y = 0; y < HEIGHT + 4; y++) {
        for (int x = 0; x < WIDTH; x += 16) wasm_v128_store(&rows[y][BORDER + x], taps(&image[y][BORDER + x], 1));
    }
    for (int y = 0; y < HEIGHT; y++) {
        for (int x = 0; x < WIDTH; x += 16) {
            wasm_v128_store(&blurred[y][BORDER + x], taps(&rows[y + 2][BORDER + x], STRIDE));
        }
    }
}

static void sharpen(void) {
    for (int y = 0; y < HEIGHT; y++) {
        for (int x = 0; x < WIDTH; x += 16) {
            uint8_t *at = &image[y + 2][BORDER + x];
            v128_t old = wasm_v128_load(at), soft = wasm_v128_load(&blurred[y][BORDER + x]);
            v128_t above = wasm_u8x16_sub_sat(old, soft), below = wasm_u8x16_sub_sat(soft, old);
            v128_t edge = wasm_v128_and(wasm_u8x16_gt(wasm_v128_or(above, below), wasm_i8x16_splat(9)), above);
            wasm_v128_store(at, wasm_u8x16_avgr(wasm_u8x16_sub_sat(wasm_u8x16_add_sat(old, edge), below), old));
        }
    }
}

int main(int argc, char **argv) {
    int n = argc > 1 ? atoi(argv[1]) : 1500;
    uint32_t random = 1;
    for (int y = 0; y < HEIGHT + 4; y++) {
        for (int x = 0; x < STRIDE; x++) {
            random = random * 1664525 + 1013904223;
            image[y][x] = (uint8_t)((random >> 28) + (((x >> 5) ^ (y >> 5)) & 1) * 200);
        }
    }
    uint32_t sum = 0;
    for (int i = 0; i < n; i++) {
        blur();
        sharpen();
        image[2 + i % HEIGHT][BORDER + i % WIDTH] ^= 0xff;
        sum = sum * 31 + blurred[i % HEIGHT][BORDER + 7 * i % WIDTH];
    }
    for (int y = 0; y < HEIGHT; y++) {
        for (int x = 0; x < WIDTH; x++) sum = sum * 33 + image[y + 2][BORDER + x];
    }
    printf("blur %d %08x\n", n, sum);
    return 0;
}
