// Question: what does a dispatch loop with one `switch` (a br_table) cost? It interprets a program in the language of
// eight one-character commands. argv[1] is the number of runs of that program.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CELLS = 512, LENGTH = 512 };

// Adds 16 and three times 16 to a cell, over and over, by moving counts between cells.
static const char source[] =
    "++++++++++["         // ten times, counted in cell 0:
    ">++++++++++["        //   ten times, counted in cell 1:
    ">++++++++++++++++"   //     16 in cell 2
    "[>+>+++<<-]"         //     moved to cell 3, and three times that to cell 4
    ">>[<+>-]"            //     cell 4 added to cell 3
    "<."                  //     a byte out
    "<<-]"
    "<-]"
    ">>>[-].";

static uint32_t hash = 2166136261u;

static void run(const char *code, const uint16_t *jump) {
    unsigned char cells[CELLS] = {0};
    uint32_t at = 0;
    for (uint32_t pc = 0;; pc++) {
        switch (code[pc]) {
        case 0: return;
        case '>': at = (at + 1) % CELLS; break;
        case '<': at = (at + CELLS - 1) % CELLS; break;
        case '+': cells[at]++; break;
        case '-': cells[at]--; break;
        case '.': hash = (hash ^ cells[at]) * 16777619u; break;
        case ',': cells[at] = (unsigned char)hash; break;
        case '[':
            if (!cells[at]) pc = jump[pc];
            break;
        case ']':
            if (cells[at]) pc = jump[pc];
            break;
        default: break;
        }
    }
}

int main(int argc, char **argv) {
    long runs = argc > 1 ? atol(argv[1]) : 1600;
    static uint16_t jump[LENGTH], open[LENGTH];
    int depth = 0, length = (int)strlen(source);
    for (int i = 0; i < length; i++) {
        if (source[i] == '[') open[depth++] = (uint16_t)i;
        if (source[i] == ']') {
            jump[i] = open[--depth];
            jump[open[depth]] = (uint16_t)i;
        }
    }
    for (long i = 0; i < runs; i++) run(source, jump);
    printf("switch %ld %08x\n", runs, hash);
    return 0;
}
