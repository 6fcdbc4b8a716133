// Question: what does a call through a table cost? A small register machine runs each of its instructions by a
// function pointer. argv[1] is the number of runs of its program.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct machine;

struct instruction {
    uint32_t (*run)(struct machine *, const struct instruction *, uint32_t pc);
    uint8_t to, a, b;
    int32_t value;
};

struct machine {
    uint32_t registers[8];
    uint32_t memory[64];
};

typedef struct machine M;
typedef const struct instruction I;

static uint32_t load_value(M *m, I *i, uint32_t pc) {
    m->registers[i->to] = (uint32_t)i->value;
    return pc + 1;
}
static uint32_t add(M *m, I *i, uint32_t pc) {
    m->registers[i->to] = m->registers[i->a] + m->registers[i->b];
    return pc + 1;
}
static uint32_t add_value(M *m, I *i, uint32_t pc) {
    m->registers[i->to] = m->registers[i->a] + (uint32_t)i->value;
    return pc + 1;
}
static uint32_t multiply(M *m, I *i, uint32_t pc) {
    m->registers[i->to] = m->registers[i->a] * m->registers[i->b];
    return pc + 1;
}
static uint32_t exclusive_or(M *m, I *i, uint32_t pc) {
    m->registers[i->to] = m->registers[i->a] ^ m->registers[i->b];
    return pc + 1;
}
static uint32_t shift_right(M *m, I *i, uint32_t pc) {
    m->registers[i->to] = m->registers[i->a] >> (i->value & 31);
    return pc + 1;
}
static uint32_t load(M *m, I *i, uint32_t pc) {
    m->registers[i->to] = m->memory[m->registers[i->a] & 63];
    return pc + 1;
}
static uint32_t store(M *m, I *i, uint32_t pc) {
    m->memory[m->registers[i->a] & 63] = m->registers[i->b];
    return pc + 1;
}
static uint32_t branch_if_less(M *m, I *i, uint32_t pc) {
    return m->registers[i->a] < m->registers[i->b] ? (uint32_t)i->value : pc + 1;
}
static uint32_t halt(M *m, I *i, uint32_t pc) {
    (void)m, (void)i, (void)pc;
    return UINT32_MAX;
}

// r0 hash, r1 counter, r2 end, r3 multiplier, r4 and r5 scratch.
static const struct instruction program[] = {
    {load_value, 1, 0, 0, 0},
    {load_value, 2, 0, 0, 1000},
    {load_value, 3, 0, 0, 0x01000193},
    {load, 4, 1, 0, 0}, // 3: the loop
    {exclusive_or, 0, 0, 4, 0},
    {multiply, 0, 0, 3, 0},
    {shift_right, 5, 0, 0, 15},
    {exclusive_or, 5, 5, 0, 0},
    {add, 4, 4, 5, 0},
    {store, 0, 1, 4, 0},
    {add_value, 1, 1, 0, 1},
    {branch_if_less, 0, 1, 2, 3},
    {halt, 0, 0, 0, 0},
};

int main(int argc, char **argv) {
    long runs = argc > 1 ? atol(argv[1]) : 4000;
    static struct machine machine;
    machine.registers[0] = 2166136261u;
    for (long i = 0; i < runs; i++) {
        uint32_t pc = 0;
        while (pc != UINT32_MAX) pc = program[pc].run(&machine, &program[pc], pc);
    }
    printf("indirect %ld %08x\n", runs, machine.registers[0]);
    return 0;
}
