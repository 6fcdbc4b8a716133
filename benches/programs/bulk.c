// Question: what do memory.copy and memory.fill cost, from a few bytes to many, overlapping and not? argv[1] is the
// number of rounds.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 1 << 20 };

static unsigned char bytes[SIZE];

int main(int argc, char **argv) {
    long rounds = argc > 1 ? atol(argv[1]) : 2000;
    uint32_t seed = 1, hash = 2166136261u;
    for (uint32_t i = 0; i < SIZE; i++) bytes[i] = (unsigned char)(i * 2654435761u >> 24);
    for (long round = 0; round < rounds; round++) {
        // Many small blocks, as string and structure code makes them.
        for (int i = 0; i < 20000; i++) {
            seed = seed * 1664525u + 1013904223u;
            uint32_t from = seed >> 13, to = (seed * 40503u) >> 13, length = 1 + (seed >> 3 & 63);
            memmove(bytes + to, bytes + from, length);
            if ((i & 7) == 0) memset(bytes + from, i, length);
        }
        // Few large ones, sliding over themselves.
        for (int i = 0; i < 4; i++) {
            memmove(bytes + 4096, bytes, SIZE / 2);
            memcpy(bytes + SIZE / 2 + 8192, bytes, SIZE / 2 - 8192);
            memset(bytes + (seed >> 14), (int)round, 65536);
        }
        hash = (hash ^ bytes[seed >> 12] ^ bytes[hash >> 12]) * 16777619u;
    }
    for (uint32_t i = 0; i < SIZE; i += 61) hash = (hash ^ bytes[i]) * 16777619u;
    printf("bulk %ld %08x\n", rounds, hash);
    return 0;
}
