/*
 * Counts a guest's instructions from outside: a plugin for QEMU's translator (API version 1).
 *
 * The guest's programs mark what is to be counted by eight-byte no-operations, 0f 1f 84 00 NN 00 4b 4d, where NN is
 *   16, 17  before and after a measured loop (in hexadecimal): a line `row` with the counts in between; `copied` are
 *           the bytes that string moves wrote, which is how these programs copy whatever is longer than a few words;
 *   01      the first instructions of the UEFI application;
 *   02, 03  before and after waiting for hardware, which is counted apart (calibration of the clock);
 *   05      the first block has been read: a line `boot`.
 * Other lines, after each row, for all of the run so far:
 *   `entry`      the longest stretch of kernel instructions between two of a task (or a halt);
 *   `interrupt`  for each vector that struck a task, and after which another one ran: kernel instructions from the
 *                vector to that one's first.
 *
 * Arguments: out=FILE, where the lines go; mark=BYTES, image=BYTES: where mark 01 lies in the UEFI application's
 * memory image, and how large that is; profile=on: after each row, a line `block` for each stretch of code that it ran,
 * with its address, instructions, how often it ran, and its first bytes, which tell whose code it is (programs lie at the
 * same addresses).
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What of qemu-plugin.h is used. */
typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_hwaddr;
enum { NO_REGISTERS = 0, MEMORY_WRITES = 2, INLINE_ADD = 0 };
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned, void *), int, void *);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, void (*)(unsigned, void *), int, void *);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int, void *, uint64_t);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, void (*)(unsigned, uint32_t, uint64_t, void *), int,
                                      int, void *);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
struct qemu_plugin_hwaddr *qemu_plugin_get_hwaddr(uint32_t, uint64_t);
bool qemu_plugin_hwaddr_is_io(const struct qemu_plugin_hwaddr *);
unsigned qemu_plugin_mem_size_shift(uint32_t);
#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;

/* What is counted. Firmware and application only until the kernel runs. */
enum { FIRMWARE, APPLICATION, KERNEL, USER, SYSTEM_CALLS, INTERRUPTS, HALTS, MMIO_WRITES, COPIED, COUNTS };
static uint64_t count[COUNTS], at_begin[COUNTS];
static FILE *out;
static unsigned rows;

/* The UEFI application's image, once its mark is translated. */
static uint64_t mark_offset, image_bytes, image_base;
static bool booted, first_read;
static uint64_t at_application[COUNTS], waited[COUNTS], at_wait[COUNTS];

/* The way through the kernel that is under way. */
enum { BY_SYSTEM_CALL = -1, BY_OTHER = -2 };
static bool in_kernel, tasks_run, switched, from_halt;
static int entered_by; /* a vector, or one of these */
static uint64_t entered_at, longest;
static int longest_by;
static struct { uint64_t times, total, least, most; } to_user[256];

/* Stretches of code, for a profile; the newest first. */
enum { CODE_BYTES = 32 };
struct stretch {
    struct stretch *next;
    uint64_t address, times, at_begin;
    unsigned instructions, bytes;
    uint8_t code[CODE_BYTES];
};
static bool profile;
static struct stretch *stretches;

static void watch(struct qemu_plugin_tb *block) {
    struct stretch *stretch = calloc(1, sizeof *stretch);
    if (!stretch)
        return;
    stretch->address = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(block, 0));
    stretch->instructions = qemu_plugin_tb_n_insns(block);
    for (size_t index = 0; index < stretch->instructions; index++) {
        const struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, index);
        size_t size = qemu_plugin_insn_size(instruction);
        if (stretch->bytes + size > CODE_BYTES)
            break;
        memcpy(stretch->code + stretch->bytes, qemu_plugin_insn_data(instruction), size);
        stretch->bytes += size;
    }
    stretch->next = stretches;
    stretches = stretch;
    qemu_plugin_register_vcpu_tb_exec_inline(block, INLINE_ADD, &stretch->times, 1);
}

static void tell_profile(void) {
    for (struct stretch *stretch = stretches; stretch; stretch = stretch->next) {
        if (stretch->times == stretch->at_begin)
            continue;
        fprintf(out, "count: block row=%u address=%lu instructions=%u times=%lu code=", rows, stretch->address,
                stretch->instructions, stretch->times - stretch->at_begin);
        for (unsigned index = 0; index < stretch->bytes; index++)
            fprintf(out, "%02x", stretch->code[index]);
        fputc('\n', out);
    }
}

static void leave(bool to_task) {
    uint64_t length = count[KERNEL] - entered_at;
    in_kernel = false;
    if (tasks_run && length > longest) {
        longest = length;
        longest_by = entered_by;
    }
    tasks_run |= to_task;
    bool halted = from_halt;
    from_halt = !to_task;
    if (to_task && switched && !halted && entered_by > 0) {
        uint64_t *least = &to_user[entered_by].least, *most = &to_user[entered_by].most;
        *least = to_user[entered_by].times && *least < length ? *least : length;
        *most = *most > length ? *most : length;
        to_user[entered_by].times++;
        to_user[entered_by].total += length;
    }
}

static void user_block(unsigned cpu, void *unused) {
    if (in_kernel)
        leave(true);
}

/* `first` is how the kernel would have been entered if this block is the first. */
static void kernel_block(unsigned cpu, void *first) {
    if (in_kernel && (intptr_t)first <= 0)
        return;
    /* An interrupt may strike before the first instruction of a task that was returned to. */
    if (in_kernel)
        leave(true);
    in_kernel = true;
    switched = false;
    entered_at = count[KERNEL];
    entered_by = (int)(intptr_t)first;
    count[SYSTEM_CALLS] += entered_by == BY_SYSTEM_CALL;
    count[INTERRUPTS] += entered_by > 0;
}

static void halt(unsigned cpu, void *unused) {
    count[HALTS]++;
    leave(false);
}

static void address_space(unsigned cpu, void *unused) { switched = true; }

static void store(unsigned cpu, uint32_t information, uint64_t address, void *unused) {
    struct qemu_plugin_hwaddr *where = qemu_plugin_get_hwaddr(information, address);
    count[MMIO_WRITES] += where && qemu_plugin_hwaddr_is_io(where);
}

/* A repeated string move executes once more than it moves, so its writes are counted. */
static void copy(unsigned cpu, uint32_t information, uint64_t address, void *unused) {
    count[COPIED] += 1ul << qemu_plugin_mem_size_shift(information);
}

/* REP MOVSB, MOVSW, MOVSD, MOVSQ. */
static bool copies(const uint8_t *bytes, size_t size) {
    return size >= 2 && bytes[0] == 0xf3 && (bytes[size - 1] & 0xfe) == 0xa4;
}

/* What holds for the whole run so far. */
static void tell_run(void) {
    fprintf(out, "count: entry longest=%lu by=%d\n", longest, longest_by);
    for (int vector = 1; vector < 256; vector++)
        if (to_user[vector].times)
            fprintf(out, "count: interrupt vector=%d times=%lu least=%lu mean=%lu most=%lu\n", vector,
                    to_user[vector].times, to_user[vector].least, to_user[vector].total / to_user[vector].times,
                    to_user[vector].most);
}

static void mark(unsigned cpu, void *which) {
    switch ((intptr_t)which) {
    case 0x16:
        memcpy(at_begin, count, sizeof count);
        for (struct stretch *stretch = stretches; stretch; stretch = stretch->next)
            stretch->at_begin = stretch->times;
        break;
    case 0x17:
        fprintf(out, "count: row number=%u user=%lu kernel=%lu system_calls=%lu interrupts=%lu halts=%lu mmio_writes=%lu copied=%lu\n",
                ++rows, count[USER] - at_begin[USER], count[KERNEL] - at_begin[KERNEL],
                count[SYSTEM_CALLS] - at_begin[SYSTEM_CALLS], count[INTERRUPTS] - at_begin[INTERRUPTS],
                count[HALTS] - at_begin[HALTS], count[MMIO_WRITES] - at_begin[MMIO_WRITES],
                count[COPIED] - at_begin[COPIED]);
        tell_run();
        if (profile)
            tell_profile();
        break;
    case 0x01:
        memcpy(at_application, count, sizeof count);
        break;
    case 0x02:
        memcpy(at_wait, count, sizeof count);
        break;
    case 0x03:
        for (int kind = 0; kind < COUNTS; kind++)
            waited[kind] += count[kind] - at_wait[kind];
        break;
    case 0x05:
        if (!first_read)
            fprintf(out, "count: boot application=%lu kernel=%lu user=%lu calibration=%lu firmware=%lu\n",
                    count[APPLICATION] - at_application[APPLICATION] - waited[APPLICATION],
                    count[KERNEL] - waited[KERNEL], count[USER],
                    waited[APPLICATION] + waited[KERNEL] + waited[FIRMWARE],
                    count[FIRMWARE] - at_application[FIRMWARE] - waited[FIRMWARE]);
        first_read = true;
        break;
    }
    fflush(out);
}

/* How the kernel is entered if this is the first instruction there. The interrupt stubs push a zero (the processor pushes
 * no error code for an interrupt) and the vector, and jump; the SYSCALL entry begins with SWAPGS. */
static int entry_of(const struct qemu_plugin_tb *block) {
    static const uint8_t swapgs[] = {0x0f, 0x01, 0xf8};
    const struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, 0);
    const uint8_t *bytes = qemu_plugin_insn_data(instruction);
    if (qemu_plugin_insn_size(instruction) == 3 && !memcmp(bytes, swapgs, 3))
        return BY_SYSTEM_CALL;
    if (qemu_plugin_tb_n_insns(block) < 3 || bytes[0] != 0x6a || bytes[1] != 0)
        return BY_OTHER;
    bytes = qemu_plugin_insn_data(qemu_plugin_tb_get_insn(block, 1));
    return bytes[0] == 0x6a || bytes[0] == 0x68 ? bytes[1] : BY_OTHER;
}

static int mark_of(const uint8_t *bytes, size_t size) {
    bool is = size == 8 && bytes[0] == 0x0f && bytes[1] == 0x1f && bytes[2] == 0x84 && bytes[3] == 0 && bytes[5] == 0 &&
              bytes[6] == 0x4b && bytes[7] == 0x4d;
    return is ? bytes[4] : -1;
}

static void translate(plugin_id id, struct qemu_plugin_tb *block) {
    size_t length = qemu_plugin_tb_n_insns(block);
    bool kernel = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(block, 0)) >> 63;
    booted |= kernel;
    if (profile && booted)
        watch(block);
    if (kernel)
        qemu_plugin_register_vcpu_tb_exec_cb(block, kernel_block, NO_REGISTERS, (void *)(intptr_t)entry_of(block));
    else if (booted)
        qemu_plugin_register_vcpu_tb_exec_cb(block, user_block, NO_REGISTERS, NULL);
    for (size_t index = 0; index < length; index++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, index);
        const uint8_t *bytes = qemu_plugin_insn_data(instruction);
        size_t size = qemu_plugin_insn_size(instruction);
        uint64_t address = qemu_plugin_insn_vaddr(instruction);
        int which = mark_of(bytes, size);
        if (which == 0x01 && image_bytes)
            image_base = address - mark_offset;
        int kind = kernel ? KERNEL : booted ? USER : address - image_base < image_bytes ? APPLICATION : FIRMWARE;
        qemu_plugin_register_vcpu_insn_exec_inline(instruction, INLINE_ADD, &count[kind], 1);
        if (which >= 0)
            qemu_plugin_register_vcpu_insn_exec_cb(instruction, mark, NO_REGISTERS, (void *)(intptr_t)which);
        if (copies(bytes, size))
            qemu_plugin_register_vcpu_mem_cb(instruction, copy, NO_REGISTERS, MEMORY_WRITES, NULL);
        if (!kernel)
            continue;
        if (size == 1 && bytes[0] == 0xf4)
            qemu_plugin_register_vcpu_insn_exec_cb(instruction, halt, NO_REGISTERS, NULL);
        else if (size >= 3 && !memcmp(bytes + size - 3, "\x0f\x22", 2))
            qemu_plugin_register_vcpu_insn_exec_cb(instruction, address_space, NO_REGISTERS, NULL);
        else
            qemu_plugin_register_vcpu_mem_cb(instruction, store, NO_REGISTERS, MEMORY_WRITES, NULL);
    }
}

EXPORT int qemu_plugin_install(plugin_id id, const void *information, int arguments, char **argument) {
    for (int index = 0; index < arguments; index++) {
        if (!strncmp(argument[index], "out=", 4))
            out = fopen(argument[index] + 4, "w");
        else if (!strncmp(argument[index], "mark=", 5))
            mark_offset = strtoull(argument[index] + 5, NULL, 0);
        else if (!strncmp(argument[index], "image=", 6))
            image_bytes = strtoull(argument[index] + 6, NULL, 0);
        else if (!strcmp(argument[index], "profile=on"))
            profile = true;
        else
            return -1;
    }
    if (!out)
        return -1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    return 0;
}
