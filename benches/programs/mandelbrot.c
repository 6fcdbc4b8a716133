// Question: how fast are tight float loops that live in locals alone, in f32 and in f64? argv[1] is the side of the
// picture in points.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { LIMIT = 200 };

static int escape_f32(float cx, float cy) {
    float x = 0, y = 0;
    int n = 0;
    while (n < LIMIT) {
        float xx = x * x, yy = y * y;
        if (xx + yy > 4.0f) break;
        y = 2.0f * x * y + cy;
        x = xx - yy + cx;
        n++;
    }
    return n;
}

static int escape_f64(double cx, double cy) {
    double x = 0, y = 0;
    int n = 0;
    while (n < LIMIT) {
        double xx = x * x, yy = y * y;
        if (xx + yy > 4.0) break;
        y = 2.0 * x * y + cy;
        x = xx - yy + cx;
        n++;
    }
    return n;
}

int main(int argc, char **argv) {
    long side = argc > 1 ? atol(argv[1]) : 1150;
    uint32_t narrow = 1, wide = 1;
    for (long row = 0; row < side; row++) {
        for (long column = 0; column < side; column++) {
            double cx = 3.0 * (double)column / (double)side - 2.25;
            double cy = 2.5 * (double)row / (double)side - 1.25;
            narrow = narrow * 31u + (uint32_t)escape_f32((float)cx, (float)cy);
            wide = wide * 31u + (uint32_t)escape_f64(cx, cy);
        }
    }
    printf("mandelbrot %ld %08x %08x\n", side, narrow, wide);
    return 0;
}
