/* Atomics: before v3 there is only the addition that gives nothing back. */
#include "bpf.h"

u64 add(u64 *wide, u32 *half)
{
    __sync_fetch_and_add(wide, 1);
    __sync_fetch_and_add(wide + 3, *wide);
    __sync_fetch_and_add(half + 1, *half);
    return *wide;
}

#if ISA >= 3
u64 fetch64(u64 *p, u64 v)
{
    u64 r = __sync_fetch_and_add(p, v);
    r += __sync_fetch_and_sub(p + 1, r);
    r += __sync_fetch_and_or(p + 2, r);
    r += __sync_fetch_and_and(p + 3, r);
    r += __sync_fetch_and_xor(p - 1, r);
    r += __sync_lock_test_and_set(p + 4, r);
    r += __sync_val_compare_and_swap(p, v, r);
    return r;
}

u32 fetch32(u32 *p, u32 v)
{
    u32 r = __sync_fetch_and_add(p, v);
    r += __sync_fetch_and_or(p + 2, r);
    r += __sync_fetch_and_and(p + 3, r);
    r += __sync_fetch_and_xor(p - 1, r);
    r += __sync_lock_test_and_set(p + 4, r);
    r += __sync_val_compare_and_swap(p, v, r);
    return r;
}

u32 quiet(u64 *p, u32 *q)
{
    __sync_fetch_and_or(p, 5);
    __sync_fetch_and_and(p + 1, *p);
    __sync_fetch_and_xor(q + 1, *q);
    __sync_fetch_and_and(q + 2, 7);
    return *q;
}

/* A lock that gives up. */
int spin(u32 *lock)
{
    int tries;
    for (tries = 0; tries < 100; tries++)
        if (__sync_bool_compare_and_swap(lock, 0, 1))
            return tries;
    return -1;
}
#endif
