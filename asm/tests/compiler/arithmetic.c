/* Every operation at every width, signs, and 64-bit constants. */
#include "bpf.h"

volatile u64 out64;
volatile u32 out32;
volatile s64 signed64;
volatile s32 signed32;
volatile s16 signed16;
volatile s8 signed8;

u64 wide(u64 a, u64 b)
{
    u64 r = a + b;
    r -= a * 3;
    r *= b;
    r /= b | 1;
    r %= a | 7;
    r |= 0x40;
    r &= ~b;
    r ^= a << (b & 63);
    r ^= a >> 5;
    r ^= (u64)((s64)a >> 3);
    r ^= (u64)((s64)a >> (b & 63));
    r += 0x123456789abcdef0;
    r -= 0xffffffff80000000;
    r ^= 0xffffffff;
    return -r;
}

u32 half(u32 a, u32 b)
{
    u32 r = a + b;
    r -= a * 3;
    r *= b;
    r /= b | 1;
    r %= a | 7;
    r |= 0x40;
    r &= ~b;
    r ^= a << (b & 31);
    r ^= a >> 5;
    r ^= (u32)((s32)a >> 3);
    r ^= (u32)((s32)a >> (b & 31));
    r += 0x80000000;
    return -r;
}

int compare(s64 a, s64 b)
{
    int r = 0;
    if (a > b) r += signed32;
    if (a >= 100) r ^= signed32;
    if ((u64)a < (u64)b) r -= signed32;
    if ((u64)a <= 1000) r |= signed32;
    if (a != b) r += 5 * signed32;
    if (a & b) r &= signed32;
    if (a < -5) r <<= signed32 & 7;
    if (a <= b) r += signed32;
    if (a & 0x1000) r ^= signed32;
    if ((u64)a > 0xffffffff00000000) r--;
    return r;
}

int compare32(s32 a, s32 b)
{
    int r = 0;
    if (a > b) r += signed32;
    if (a >= 100) r ^= signed32;
    if ((u32)a < (u32)b) r -= signed32;
    if ((u32)a <= 1000) r |= signed32;
    if (a != b) r += 5 * signed32;
    if (a & b) r &= signed32;
    if (a < -5) r <<= signed32 & 7;
    if (a <= b) r += signed32;
    if (a & 0x1000) r ^= signed32;
    return r;
}

/* v4: loads and moves that extend the sign; before it, two shifts. */
s64 signs(s64 a, s64 b)
{
    s64 r = (s8)a;
    r += (s16)b;
    r ^= (s32)(a + b);
    r += signed8;
    r -= signed16;
    r *= signed32;
    signed8 = (s8)r;
    signed16 = (s16)(s8)r;
    signed32 = (s16)r;
    signed64 = (s32)r;
    return r + (s32)(s8)signed64;
}

u64 turn(u64 a)
{
    u64 r = __builtin_bswap16((u16)a);
    r += __builtin_bswap32((u32)a);
    r ^= __builtin_bswap64(a);
    r += NET16((u16)r);
    r ^= NET32((u32)r);
    return r + NET64(r);
}

#if ISA >= 4
s64 divide(s64 a, s64 b)
{
    s32 c = (s32)a, d = (s32)b;
    s64 r = a / b + a % b;
    r += a / 7 - a % -9;
    r ^= c / d + c % d;
    r += c / -5 - c % 3;
    return r;
}
#endif

u64 constants(u64 a)
{
    switch (a) {
    case 0: return 0;
    case 1: return 0xffffffffffffffff;
    case 2: return 0x7fffffff;
    case 3: return 0x80000000;
    case 4: return 0xffffffff80000000;
    case 5: return 0x8000000000000000;
    case 6: return 0x0102030405060708;
    default: return (u64)&out32 + (u64)&out64;
    }
}
