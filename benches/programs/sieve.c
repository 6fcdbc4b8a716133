// Question: how fast are strided byte stores and a scan that reads them back? argv[1] is the number of sieves over the
// numbers below one million.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { LIMIT = 1000000 };

static unsigned char composite[LIMIT];

static uint32_t sieve(uint32_t mark) {
    for (uint32_t i = 0; i < LIMIT; i++) composite[i] = 0;
    for (uint32_t p = 2; p * p < LIMIT; p++) {
        if (composite[p]) continue;
        for (uint32_t multiple = p * p; multiple < LIMIT; multiple += p) composite[multiple] = 1;
    }
    uint32_t hash = mark;
    for (uint32_t i = 2; i < LIMIT; i++)
        if (!composite[i]) hash = hash * 33u + i;
    return hash;
}

int main(int argc, char **argv) {
    long rounds = argc > 1 ? atol(argv[1]) : 80;
    uint32_t hash = 5381;
    for (long i = 0; i < rounds; i++) hash = sieve(hash);
    printf("sieve %ld %08x\n", rounds, hash);
    return 0;
}
