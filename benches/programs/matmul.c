// Question: how fast are f64 multiply-adds over memory in nested loops? argv[1] is the number of 96 x 96 products.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 96 };

static double a[SIDE][SIDE], b[SIDE][SIDE], c[SIDE][SIDE];

static void multiply(void) {
    for (int i = 0; i < SIDE; i++) {
        for (int j = 0; j < SIDE; j++) {
            double sum = 0;
            for (int k = 0; k < SIDE; k++) sum += a[i][k] * b[k][j];
            c[i][j] = sum;
        }
    }
}

int main(int argc, char **argv) {
    long rounds = argc > 1 ? atol(argv[1]) : 150;
    for (int i = 0; i < SIDE; i++) {
        for (int j = 0; j < SIDE; j++) {
            a[i][j] = (double)((i * 7 + j * 3) % 11) / 8.0;
            b[i][j] = (double)((i * 5 + j * 13) % 17) / 64.0;
        }
    }
    for (long round = 0; round < rounds; round++) {
        multiply();
        // The product, scaled to stay near one, is the next left factor.
        for (int i = 0; i < SIDE; i++)
            for (int j = 0; j < SIDE; j++) a[i][j] = c[i][j] * 0.0625;
    }
    double trace = 0;
    for (int i = 0; i < SIDE; i++) trace += c[i][(i * 3) % SIDE];
    uint64_t bits;
    memcpy(&bits, &trace, sizeof bits);
    printf("matmul %ld %016llx\n", rounds, (unsigned long long)bits);
    return 0;
}
