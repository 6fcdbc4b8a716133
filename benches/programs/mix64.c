// Question: how fast is 64-bit integer arithmetic in locals: multiplications, shifts, rotations, divisions, counting
// bits? argv[1] is the number of thousand steps.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t rotate(uint64_t x, int by) { return x << by | x >> (64 - by); }

int main(int argc, char **argv) {
    long thousands = argc > 1 ? atol(argv[1]) : 90000;
    uint64_t congruential = 1, xorshift = 88172645463325252u, mixed = 0, sum = 0;
    for (long i = 0; i < thousands * 1000; i++) {
        congruential = congruential * 6364136223846793005u + 1442695040888963407u;
        xorshift ^= xorshift << 13;
        xorshift ^= xorshift >> 7;
        xorshift ^= xorshift << 17;
        mixed += 0x9e3779b97f4a7c15u;
        uint64_t z = mixed;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        sum += rotate(congruential ^ z, 23) + xorshift;
        if ((i & 15) == 0) sum += z / (xorshift >> 40 | 1) + (uint64_t)__builtin_popcountll(sum);
    }
    printf("mix64 %ld %016llx\n", thousands, (unsigned long long)sum);
    return 0;
}
