/* A map of each form, values of all kinds, and calls. */
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int (*name)[val]
#define __type(name, val) typeof(val) *name
#define __array(name, val) typeof(val) *name[]
typedef unsigned int u32;
typedef unsigned long long u64;
typedef const volatile u32 address;
struct counter { u64 packets, bytes; };
enum color { RED, GREEN };
struct pair { u32 keys[2][3]; enum color color; void *end; };

static void *(*lookup)(void *map, const void *key) = (void *)1;

struct {
    __uint(type, 1);
    __uint(max_entries, 8192);
    __type(key, address);
    __type(value, struct pair);
    __uint(map_flags, 1);
} endpoints SEC(".maps");

struct inner {
    __uint(type, 6);
    __uint(key_size, 4);
    __uint(value_size, 16);
    __uint(max_entries, 4);
};
typedef struct inner counters;
counters stats SEC(".maps");

struct {
    __uint(type, 12);
    __uint(max_entries, 2);
    __uint(key_size, 4);
    __array(values, struct inner);
} outer SEC(".maps");

struct old { u32 type, key_size, value_size, max_entries, map_flags; };
struct old before SEC("maps") = { 2, 4, 24, 3, 0 };

const volatile u32 first[2] = { 1, 2 };
const volatile u32 limit = 3;
u64 hits = 5;
static volatile u32 one, two;
extern int kernel_symbol __attribute__((section(".ksyms")));

__attribute__((noinline)) int help(u32 *key) { return *key + one + two; }

SEC("xdp") int count(void *ctx)
{
    u32 key = limit;
    struct counter *counter = lookup(&stats, &key);
    if (counter)
        counter->packets++;
    hits++;
    struct pair *pair = lookup(&endpoints, &key);
    return pair ? help(&key) : 1;
}

SEC("xdp") int more(void *ctx)
{
    u32 key = 0;
    lookup(&outer, &key);
    return lookup(&before, &key) != &kernel_symbol;
}

SEC("license") char _license[] = "GPL";
