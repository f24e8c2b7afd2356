/*
 * The same reads in Linux: the only program of an initramfs, started as process 1.
 *
 * It reads /dev/nvme0n1 past the page cache in the ways in which Linux is quickest: one at a time with pread, many with
 * io_uring and registered buffers. Each row goes between the marks that qemu/bench/count.c counts between, and is told
 * with the nanoseconds that it took, in lines of the form that Charter's log has.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MARK_BEGIN() __asm__ volatile(".byte 0x0f,0x1f,0x84,0x00,0x16,0x00,0x4b,0x4d" ::: "memory")
#define MARK_END() __asm__ volatile(".byte 0x0f,0x1f,0x84,0x00,0x17,0x00,0x4b,0x4d" ::: "memory")

enum { PLACES = 512 };

static void fail(const char *what) {
    perror(what);
    sync();
    reboot(RB_POWER_OFF);
    _exit(1);
}

static uint64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static void tell(const char *name, uint64_t reads, uint64_t begin, uint64_t end) {
    printf("peer: row name=%s reads=%lu nanoseconds=%lu\n", name, reads, end - begin);
    fflush(stdout);
}

static void one_at_a_time(int disk, const char *name, char *memory, size_t bytes, uint64_t reads) {
    uint64_t begin = 0;
    for (uint64_t number = 0; number < reads + reads / 10; number++) {
        if (number == reads / 10) {
            MARK_BEGIN();
            begin = nanoseconds();
        }
        if (pread(disk, memory, bytes, number % PLACES * bytes) != (ssize_t)bytes)
            fail("pread");
    }
    uint64_t end = nanoseconds();
    MARK_END();
    tell(name, reads, begin, end);
}

/* A ring of io_uring(7), mapped. */
struct ring {
    int file;
    unsigned *tail, *mask, *array, *head, *end, *end_mask;
    struct io_uring_sqe *entries;
    struct io_uring_cqe *completions;
};

static struct ring ring_for(int disk, char *memory, size_t bytes, unsigned depth) {
    struct io_uring_params told = {0};
    struct ring ring = {.file = syscall(SYS_io_uring_setup, depth, &told)};
    if (ring.file < 0)
        fail("io_uring_setup");
    char *submission = mmap(0, told.sq_off.array + told.sq_entries * sizeof(unsigned), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_POPULATE, ring.file, IORING_OFF_SQ_RING);
    char *completion = mmap(0, told.cq_off.cqes + told.cq_entries * sizeof(struct io_uring_cqe),
                            PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.file, IORING_OFF_CQ_RING);
    ring.entries = mmap(0, told.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_POPULATE, ring.file, IORING_OFF_SQES);
    if (submission == MAP_FAILED || completion == MAP_FAILED || ring.entries == MAP_FAILED)
        fail("mmap");
    ring.tail = (unsigned *)(submission + told.sq_off.tail);
    ring.mask = (unsigned *)(submission + told.sq_off.ring_mask);
    ring.array = (unsigned *)(submission + told.sq_off.array);
    ring.head = (unsigned *)(completion + told.cq_off.head);
    ring.end = (unsigned *)(completion + told.cq_off.tail);
    ring.end_mask = (unsigned *)(completion + told.cq_off.ring_mask);
    ring.completions = (struct io_uring_cqe *)(completion + told.cq_off.cqes);
    struct iovec buffers = {memory, bytes * depth};
    if (syscall(SYS_io_uring_register, ring.file, IORING_REGISTER_BUFFERS, &buffers, 1) < 0 ||
        syscall(SYS_io_uring_register, ring.file, IORING_REGISTER_FILES, &disk, 1) < 0)
        fail("io_uring_register");
    return ring;
}

static void many_at_a_time(int disk, const char *name, char *memory, size_t bytes, unsigned depth, uint64_t reads) {
    struct ring ring = ring_for(disk, memory, bytes, depth);
    unsigned idle[64], idles = 0;
    while (idles < depth) {
        idle[idles] = idles;
        idles++;
    }
    uint64_t warm = reads / 10, begun = 0, done = 0, first = 0, begin = 0;
    while (done < warm + reads) {
        if (!begin && done >= warm) {
            first = done;
            MARK_BEGIN();
            begin = nanoseconds();
        }
        unsigned tail = *ring.tail, fresh = 0;
        for (; idles; fresh++, tail++, begun++) {
            unsigned place = idle[--idles], index = tail & *ring.mask;
            ring.entries[index] = (struct io_uring_sqe){
                .opcode = IORING_OP_READ_FIXED,
                .flags = IOSQE_FIXED_FILE,
                .off = begun % PLACES * bytes,
                .addr = (uint64_t)(memory + place * bytes),
                .len = bytes,
                .user_data = place,
            };
            ring.array[index] = index;
        }
        __atomic_store_n(ring.tail, tail, __ATOMIC_RELEASE);
        if (syscall(SYS_io_uring_enter, ring.file, fresh, 1, IORING_ENTER_GETEVENTS, 0, 0) < 0)
            fail("io_uring_enter");
        unsigned head = *ring.head, end = __atomic_load_n(ring.end, __ATOMIC_ACQUIRE);
        for (; head != end; head++, done++) {
            const struct io_uring_cqe *completion = &ring.completions[head & *ring.end_mask];
            if (completion->res != (int)bytes)
                fail("a read");
            idle[idles++] = completion->user_data;
        }
        __atomic_store_n(ring.head, head, __ATOMIC_RELEASE);
    }
    uint64_t end = nanoseconds();
    MARK_END();
    tell(name, done - first, begin, end);
    close(ring.file);
}

int main(void) {
    mkdir("/dev", 0755);
    mount("dev", "/dev", "devtmpfs", 0, "");
    mkdir("/sys", 0755);
    mount("sys", "/sys", "sysfs", 0, "");
    int console = open("/dev/console", O_RDWR);
    dup2(console, 1);
    dup2(console, 2);
    int scheduler = open("/sys/block/nvme0n1/queue/scheduler", O_WRONLY);
    int disk = -1;
    for (int tries = 0; disk < 0 && tries < 10000; tries++) {
        usleep(1000);
        disk = open("/dev/nvme0n1", O_RDONLY | O_DIRECT);
    }
    if (disk < 0)
        fail("open");
    if (scheduler < 0)
        scheduler = open("/sys/block/nvme0n1/queue/scheduler", O_WRONLY);
    if (scheduler >= 0 && write(scheduler, "none", 4) < 0)
        perror("scheduler");
    const char *count = getenv("reads");
    uint64_t reads = count ? strtoull(count, NULL, 10) : 1000;
    char *memory = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED)
        fail("mmap");
    one_at_a_time(disk, "read-4k-depth-1", memory, 4096, reads);
    one_at_a_time(disk, "read-128k-depth-1", memory, 128 << 10, reads);
    many_at_a_time(disk, "read-4k-depth-32", memory, 4096, 32, reads);
    printf("peer: done\n");
    fflush(stdout);
    reboot(RB_POWER_OFF);
    return 0;
}
