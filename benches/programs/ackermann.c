// Question: what does recursion cost when the stack is hundreds of frames deep and moves up and down, with two and
// three arguments? argv[1] is the number of rounds.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

__attribute__((noinline)) static uint32_t ackermann(uint32_t m, uint32_t n) {
    if (m == 0) return n + 1;
    if (n == 0) return ackermann(m - 1, 1);
    return ackermann(m - 1, ackermann(m, n - 1));
}

__attribute__((noinline)) static int32_t tak(int32_t x, int32_t y, int32_t z) {
    if (y >= x) return z;
    return tak(tak(x - 1, y, z), tak(y - 1, z, x), tak(z - 1, x, y));
}

// Shifts what the call returns: an operation that no compiler can move before the call to make a loop of it.
__attribute__((noinline)) static uint64_t descend(uint32_t depth, uint64_t seed) {
    if (depth == 0) return seed;
    return (descend(depth - 1, seed * 6364136223846793005u + depth) >> 1) + seed;
}

int main(int argc, char **argv) {
    long rounds = argc > 1 ? atol(argv[1]) : 200;
    uint64_t sum = 1;
    for (long i = 0; i < rounds; i++) {
        sum = sum * 31 + ackermann(3, 6);
        sum = sum * 31 + (uint64_t)tak(16, 10, (int32_t)(i % 4) + 2);
        for (int j = 0; j < 200; j++) sum = descend(700, sum + (uint64_t)j);
    }
    printf("ackermann %ld %016llx\n", rounds, (unsigned long long)sum);
    return 0;
}
