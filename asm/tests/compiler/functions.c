/* Calls: of helpers, of functions of the program, of one by its address, and of what is elsewhere. */
#include "bpf.h"

struct bpf_map SECTION("maps") stats = {6, 4, 16, 256, 0};
struct bpf_map SECTION("maps") programs = {3, 4, 4, 8, 0};

struct counter {
    u64 packets, bytes;
};

/* A kernel function: the object has a relocation here. */
extern u64 kernel_function(u64 a, u32 b) __attribute__((section(".ksyms")));

NOINLINE u64 mix(u64 a, u64 b, u64 c, u64 d, u64 e)
{
    return (a ^ b) * 31 + (c ^ d) * 17 + e;
}

NOINLINE u32 depth(u32 n, u64 *sum)
{
    u64 local[8];
    u32 i;
    for (i = 0; i < 8; i++)
        local[i] = mix(n, i, *sum, ktime_get_ns(), i * 3);
    for (i = 0; i < 8; i++)
        *sum += local[(i + n) & 7];
    return (u32)*sum;
}

NOINLINE long each(u32 index, void *ctx)
{
    u64 *sum = ctx;
    *sum += index;
    return *sum > 1000;
}

int count(struct xdp_md *ctx)
{
    u32 key = ctx->rx_queue_index;
    struct counter *counter = map_lookup_elem(&stats, &key);
    if (!counter) {
        struct counter first = {1, ctx->data_end - ctx->data};
        map_update_elem(&stats, &key, &first, 1);
        return 1;
    }
    counter->packets++;
    counter->bytes += ctx->data_end - ctx->data;
    return 2;
}

u64 nested(u64 *ctx)
{
    u64 sum = ctx[0];
    u32 n = depth((u32)ctx[1], &sum) + depth((u32)ctx[2], &sum);
    return mix(sum, n, ctx[3], 5, 6) + (u64)loop(10, each, &sum, 0);
}

SECTION("prog/outside") u64 outside(u64 *ctx)
{
    return kernel_function(ctx[0], (u32)ctx[1]) + (u64)tail_call(ctx, &programs, 3);
}

#if __clang_major__ >= 19
/* The kernel refuses it; earlier ones kept the register elsewhere. */
u64 pointer(u64 (*function)(u64), u64 a)
{
    return function(a) + function(a + 1);
}
#endif

int search(u64 *ctx)
{
    /* A bisection in an array on the stack. */
    u32 low = 0, high = 16, table[16], i;
    for (i = 0; i < 16; i++)
        table[i] = (u32)(ctx[i & 3] >> i);
    while (low < high) {
        u32 middle = (low + high) / 2;
        if (table[middle & 15] < (u32)ctx[0])
            low = middle + 1;
        else
            high = middle;
    }
    return (int)low;
}
