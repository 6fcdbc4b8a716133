// A small shell for SQLite: `sqlite_shell DATABASE [SQL...]`. Runs the SQL of its arguments, or else of stdin, prints
// each row as `a|b|c`, and ends with 1 and a message on the first error. Built by real.sh.
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

static int print_row(void *unused, int columns, char **values, char **names) {
    (void)unused, (void)names;
    for (int i = 0; i < columns; i++) printf("%s%s", i ? "|" : "", values[i] ? values[i] : "");
    putchar('\n');
    return 0;
}

static void run(sqlite3 *database, const char *sql) {
    char *message = NULL;
    if (sqlite3_exec(database, sql, print_row, NULL, &message) != SQLITE_OK) {
        fflush(stdout);
        fprintf(stderr, "Error: %s\n", message ? message : sqlite3_errmsg(database));
        exit(1);
    }
}

static char *read_all(FILE *in) {
    size_t length = 0, room = 65536;
    char *text = malloc(room + 1);
    while (text) {
        length += fread(text + length, 1, room - length, in);
        if (length < room) break;
        room *= 2;
        text = realloc(text, room + 1);
    }
    if (!text) {
        fprintf(stderr, "Error: out of memory\n");
        exit(1);
    }
    text[length] = 0;
    return text;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: %s DATABASE [SQL...]\n", argv[0]);
        return 2;
    }
    sqlite3 *database;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    // Preview 1 has no file locks, so the file system layer is the one without them.
    if (sqlite3_open_v2(argv[1], &database, flags, "unix-none") != SQLITE_OK) {
        fprintf(stderr, "Error: %s: %s\n", argv[1], sqlite3_errmsg(database));
        return 1;
    }
    if (argc == 2) run(database, read_all(stdin));
    for (int i = 2; i < argc; i++) run(database, argv[i]);
    return sqlite3_close(database) == SQLITE_OK ? 0 : 1;
}
