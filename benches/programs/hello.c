// Question: what does the smallest useful program cost, one line through libc's stdout?
#include <stdio.h>

int main(void) {
    puts("hello, world");
    return 0;
}
