// Lua 5.4 as one unit with a small driver: `lua_runner SCRIPT [ARGUMENTS...]`. Built by real.sh.
//
// Lua unwinds with longjmp, which WebAssembly without exceptions cannot do, so here an error ends the program with its
// message: scripts run as long as they neither catch errors nor yield from coroutines.
#include <stdio.h>
#include <stdlib.h>

#define LUAI_THROW(L, c) lua_thrown(L)
#define LUAI_TRY(L, c, a) { a }
#define luai_jmpbuf int
#define l_system(command) -1
#define LUA_TMPNAMBUFSIZE 32
#define lua_tmpnam(buffer, error) { (void)(buffer); (error) = 1; }
#define tmpfile() NULL
#define _SETJMP_H // wasi-libc's header is an error

struct lua_State;
_Noreturn static void lua_thrown(struct lua_State *L);

#define LUA_CORE
#define LUA_LIB
#include "lprefix.h"

#include "lzio.c"
#include "lctype.c"
#include "lopcodes.c"
#include "lmem.c"
#include "lundump.c"
#include "ldump.c"
#include "lstate.c"
#include "lgc.c"
#include "llex.c"
#include "lcode.c"
#include "lparser.c"
#include "ldebug.c"
#include "lfunc.c"
#include "lobject.c"
#include "ltm.c"
#include "lstring.c"
#include "ltable.c"
#include "ldo.c"
#include "lvm.c"
#include "lapi.c"

#include "lauxlib.c"

#include "lbaselib.c"
#include "lcorolib.c"
#include "ldblib.c"
#include "liolib.c"
#include "lmathlib.c"
#include "loadlib.c"
#include "loslib.c"
#include "lstrlib.c"
#include "ltablib.c"
#include "lutf8lib.c"
#include "linit.c"

_Noreturn static void lua_thrown(lua_State *L) {
    const TValue *error = s2v(L->top.p - 1);
    fflush(stdout);
    fprintf(stderr, "lua: %s\n", ttisstring(error) ? getstr(tsvalue(error)) : "(error object is not a string)");
    exit(1);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: %s SCRIPT [ARGUMENTS...]\n", argv[0]);
        return 2;
    }
    lua_State *L = luaL_newstate();
    if (!L) {
        fprintf(stderr, "lua: out of memory\n");
        return 1;
    }
    luaL_openlibs(L);
    lua_createtable(L, argc - 2, 2);
    for (int i = 0; i < argc; i++) {
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i - 1);
    }
    lua_setglobal(L, "arg");
    if (luaL_loadfile(L, argv[1]) != LUA_OK || lua_pcall(L, 0, 0, 0) != LUA_OK) lua_thrown(L);
    lua_close(L);
    return 0;
}
