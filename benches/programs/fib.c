// Question: what does a direct call cost? argv[1] is the index of the Fibonacci number, computed by its definition.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

__attribute__((noinline)) static uint32_t fib(uint32_t n) {
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

int main(int argc, char **argv) {
    uint32_t n = argc > 1 ? (uint32_t)atol(argv[1]) : 38;
    printf("fib %u %u\n", n, fib(n));
    return 0;
}
