/* The program whose crash the tests of explain-crash explain. crash.elf was made of it, with the task's link script:
 * gcc -O1 -g1 -ffreestanding -fno-pic -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables
 *     -ffile-prefix-map=$PWD=/charter/example -nostdlib -static -Wl,-T,../../../servers/task/task.ld
 *     -Wl,-z,max-page-size=4096 -Wl,--build-id=none crash.c -o crash.elf
 */
static volatile long *nowhere(long many) {
    return (volatile long *)(many << 4);
}

__attribute__((noinline)) long innermost(long many) {
    volatile long room[6];
    room[many & 3] = many;
    return *nowhere(many) + room[1];
}

__attribute__((noinline)) long middle(long many) {
    volatile long room[3];
    room[many & 1] = innermost(many + 1);
    return room[0] + 1;
}

__attribute__((noreturn)) void _start(void) {
    middle(0);
    for (;;) {
    }
}
